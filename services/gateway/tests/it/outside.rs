//! The gateway on a real RabbitMQ and a real Redis, which go away and come back.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::json;
use sker_bus::{AmqpBus, AmqpConfig, Bus};
use sker_cache::{RealtimeLog, Redis, RedisConfig, RedisLog, RedisLogOptions};
use sker_testkit::{RedisServer, TestVhost, rabbitmq_vhost, redis_prefix, redis_url};
use sker_types::Role;

use crate::{
    replicas::{go_on, numbers},
    support::{Around, Platform, TestRegistry, soon, until},
};

struct Outside {
    vhost: TestVhost,
    redis: String,
    prefix: String,
    registry: Arc<TestRegistry>,
}

impl Outside {
    async fn new(redis: String) -> Outside {
        let registry = TestRegistry::silent();
        registry.speak();
        Outside { vhost: rabbitmq_vhost().await.unwrap(), redis, prefix: redis_prefix(), registry }
    }

    /// With connections of its own.
    fn connect(&self) -> Around {
        let rabbitmq = AmqpConfig { url: self.vhost.url().into(), ..AmqpConfig::default() };
        let redis =
            RedisConfig { url: self.redis.clone().into(), key_prefix: self.prefix.clone(), ..RedisConfig::default() };
        let redis = Redis::new(&redis).unwrap();
        let log = RedisLog::new(redis.clone(), RedisLogOptions::default());
        Around {
            registry: Arc::clone(&self.registry),
            store: Arc::default(),
            bus: Arc::new(AmqpBus::start(&rabbitmq, "test").unwrap()) as Arc<dyn Bus>,
            log: Arc::new(log) as Arc<dyn RealtimeLog>,
            redis: Some(redis),
        }
    }

    /// A gateway that hears everything.
    async fn gateway(&self, overrides: &[(&str, &str)]) -> Platform {
        let platform = Platform::amid(overrides, self.connect(), self.connect()).await;
        for check in ["routes", "registry", "bus", "realtime-log"] {
            checked(&platform, check, "healthy").await;
        }
        until(|| async { platform.bus.is_healthy() }).await;
        platform
    }
}

/// Waits until a check says so.
async fn checked(platform: &Platform, name: &str, status: &str) {
    until(|| async {
        let health = platform.get("/health", None).await.json();
        let checks = health["checks"].as_array().unwrap();
        checks.iter().any(|check| check["name"] == name && check["status"] == status)
    })
    .await;
}

#[tokio::test]
async fn cut_connections_to_rabbitmq_cost_no_event_on_any_gateway() {
    const LAST: u64 = 300;
    let outside = Outside::new(redis_url().unwrap()).await;
    let often = [("realtime.look_ms", "50"), ("realtime.calm_look_ms", "200")];
    let (one, other) = (outside.gateway(&often).await, outside.gateway(&often).await);
    let token = one.token(Role::User);
    let (mut here, mut there) = (one.socket(&token).await, other.socket(&token).await);
    for socket in [&mut here, &mut there] {
        socket.ask(json!({"type": "subscribe", "channel": "project:p"})).await;
    }
    for number in 1..=LAST / 2 {
        one.happen("project:p", number).await;
    }
    // The server lists connections a moment after they were opened: of two gateways and of what speaks for the others.
    let cut = AtomicUsize::new(0);
    until(|| async {
        let closed = outside.vhost.close_connections().await.unwrap();
        cut.fetch_add(closed, Ordering::SeqCst) + closed >= 4
    })
    .await;
    for number in LAST / 2 + 1..=LAST {
        one.happen("project:p", number).await;
    }
    for socket in [&mut here, &mut there] {
        let mut seen = Vec::new();
        while seen.len() < usize::try_from(LAST).unwrap() {
            seen.push(socket.next().await);
        }
        assert_eq!(numbers(&seen), (1..=LAST).collect::<Vec<_>>());
    }
    checked(&one, "bus", "healthy").await;
    one.shut_down().await;

    // What the client of one has seen is where it goes on at the other.
    let mut seen = vec![serde_json::to_value(other.log_only("project:p", LAST + 1).await).unwrap()];
    other.log_only("project:p", LAST + 2).await;
    let mut socket = other.socket(&token).await;
    soon(go_on(&mut socket, "project:p", &mut seen, LAST + 2)).await;
    assert_eq!(numbers(&seen), [LAST + 1, LAST + 2]);
}

#[tokio::test]
async fn sockets_outlive_redis_and_are_told_what_it_has_forgotten() {
    let mut redis = RedisServer::start().await.unwrap();
    let outside = Outside::new(redis.url()).await;
    let platform = outside.gateway(&[("realtime.look_ms", "50")]).await;
    let mut socket = platform.socket(&platform.token(Role::User)).await;
    socket.ask(json!({"type": "subscribe", "channel": "project:p"})).await;
    let first = platform.happen("project:p", 1).await;
    assert_eq!(socket.numbers(1).await, [1]);

    redis.kill().await.unwrap();
    // Appended by somebody just before, told just now.
    let mut second = first.clone();
    (second.seq, second.data) = (first.seq + 1, json!({"n": 2}));
    platform.tell(&second).await;
    assert_eq!(socket.numbers(1).await, [2]);
    let refused =
        socket.ask(json!({"type": "subscribe", "channel": "project:p", "after": first.seq, "ref": "r"})).await;
    assert_eq!((&refused["code"], &refused["ref"]), (&json!("unavailable"), &json!("r")));
    checked(&platform, "realtime-log", "unhealthy").await;
    assert_eq!(platform.get("/ready", None).await.status, 200);

    redis.restart().await.unwrap();
    checked(&platform, "realtime-log", "healthy").await;
    until(|| async { platform.log.latest("project:p").await.is_ok() }).await;
    // A log that may have lost its end begins anew. Whoever listens is told so unasked, once, and so is who comes back.
    assert_eq!(socket.next().await["type"], "reset");
    let frame = json!({"type": "subscribe", "channel": "project:p", "after": second.seq});
    assert_eq!(socket.ask(frame).await["type"], "subscribed");
    assert_eq!(socket.next().await["type"], "reset");
    platform.happen("project:p", 3).await;
    assert_eq!(socket.numbers(1).await, [3]);
}
