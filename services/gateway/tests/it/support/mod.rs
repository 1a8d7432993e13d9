//! A gateway with everything around it in memory.

mod client;
mod log;
mod registry;
mod socket;
mod store;
mod upstream;

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

pub use client::{Answer, raw, request, send};
use log::FarLog;
pub use registry::TestRegistry;
use serde_json::{Value, json};
use sker_auth::{Claims, TokenKeys};
use sker_bus::{Bus, MemoryBus, Message, topology};
use sker_cache::{MemoryLog, MemoryLogOptions, NewEvent, RealtimeLog, Redis};
use sker_gateway::{Config, Deps, Service, build};
use sker_proto::registry::Instance;
use sker_runtime::{Health, Listeners, platform_instance};
use sker_types::{ChannelEvent, Role, Uuid, new_id};
pub use socket::Socket;
pub use store::TestStore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
pub use upstream::{TestBody, Upstream, empty, text};

pub const SECRET: &str = "a secret of these tests, long enough for HS256";

/// No test waits longer than this for anything.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for something that has to happen.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it happens within the tests' patience")
}

/// Asks again until it holds.
pub async fn until<Fut: Future<Output = bool>>(mut holds: impl FnMut() -> Fut) {
    soon(async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

pub struct Platform {
    pub address: SocketAddr,
    pub registry: Arc<TestRegistry>,
    pub store: Arc<TestStore>,
    /// As those have it that events come from.
    pub bus: Arc<dyn Bus>,
    pub log: Arc<dyn RealtimeLog>,
    /// Cuts the gateway, and nobody else, off from the log.
    pub log_cut: Arc<AtomicBool>,
    pub keys: Arc<TokenKeys>,
    pub health: Arc<Health>,
    pub stop: CancellationToken,
    pub running: JoinHandle<anyhow::Result<()>>,
}

/// What a gateway has around it.
#[derive(Clone)]
pub struct Around {
    pub registry: Arc<TestRegistry>,
    pub store: Arc<TestStore>,
    pub bus: Arc<dyn Bus>,
    pub log: Arc<dyn RealtimeLog>,
    /// What the log is kept on, if that can be asked how it is.
    pub redis: Option<Redis>,
}

pub fn keys() -> Arc<TokenKeys> {
    Arc::new(TokenKeys::hs256(&SECRET.into()).unwrap())
}

pub fn config(overrides: &[(&str, &str)]) -> Config {
    let mut layers = Config::defaults();
    layers.env.insert("JWT_SECRET".into(), SECRET.into());
    layers.overrides =
        [("shutdown.settle_ms", "0"), ("upstream.rest_ms", "60000"), ("rabbitmq.url", "amqp://u:p@not.used")]
            .iter()
            .chain(overrides)
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
    Config::load(&layers).expect("the tests' configuration is valid")
}

impl Platform {
    pub async fn start() -> Platform {
        Platform::with(&[]).await
    }

    /// A running gateway with these keys set, which has heard its registry.
    pub async fn with(overrides: &[(&str, &str)]) -> Platform {
        let platform = Platform::deaf(overrides, MemoryLogOptions::default()).await;
        platform.registry.speak();
        soon(platform.health.until_ready()).await;
        platform
    }

    /// A running gateway whose registry is silent.
    pub async fn deaf(overrides: &[(&str, &str)], log: MemoryLogOptions) -> Platform {
        let around = Around {
            registry: TestRegistry::silent(),
            store: Arc::default(),
            bus: Arc::new(MemoryBus::new()),
            log: Arc::new(MemoryLog::new(1, log)),
            redis: None,
        };
        Platform::amid(overrides, around.clone(), around).await
    }

    /// Another gateway of the same platform.
    pub async fn beside(&self) -> Platform {
        let (registry, store) = (Arc::clone(&self.registry), Arc::clone(&self.store));
        let around = Around { registry, store, bus: Arc::clone(&self.bus), log: Arc::clone(&self.log), redis: None };
        let platform = Platform::amid(&[], around.clone(), around).await;
        soon(platform.health.until_ready()).await;
        platform
    }

    /// A running gateway: what it has around it, and what the test speaks through.
    pub async fn amid(overrides: &[(&str, &str)], around: Around, others: Around) -> Platform {
        let Around { registry, store, bus, log, redis } = around;
        let log_cut = Arc::new(AtomicBool::new(false));
        let keys = keys();
        let deps = Deps {
            registry: registry.clone(),
            store: store.clone(),
            bus,
            log: Arc::new(FarLog { log, cut: Arc::clone(&log_cut) }),
            redis,
            keys: keys.clone(),
        };
        let service: Service = build(config(overrides), deps, Listeners::free(false).unwrap()).await.unwrap();
        let (address, health, stop) = (service.address(), service.health(), CancellationToken::new());
        let running = tokio::spawn(service.run(stop.clone()));
        Platform { address, registry, store, bus: others.bus, log: others.log, log_cut, keys, health, stop, running }
    }

    /// Registers an instance that serves these routes, and waits until they are in force.
    pub async fn serve(&self, service: &str, address: SocketAddr, routes: Value) -> Instance {
        let instance = self.instance(service, address, routes);
        self.registry.upsert(instance.clone());
        let id = instance.instance_id.clone();
        until(|| async { self.routes().await.to_string().contains(&id) }).await;
        instance
    }

    pub fn instance(&self, service: &str, address: SocketAddr, routes: Value) -> Instance {
        let Value::Array(routes) = routes else { panic!("routes are a list") };
        let mut instance = platform_instance(service, &address.ip().to_string(), address.port(), "1", &routes);
        instance.instance_id = new_id().to_string();
        instance.registered_at_us = sker_types::to_micros(sker_types::now());
        instance.trusted = true;
        instance
    }

    /// What `GET /api/v1/routes` tells an administrator.
    pub async fn routes(&self) -> Value {
        let answer = self.get("/api/v1/routes", Some(&self.token(Role::Admin))).await;
        assert_eq!(answer.status, 200);
        answer.json()
    }

    pub async fn get(&self, path: &str, token: Option<&str>) -> Answer {
        let mut request = request("GET", path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        send(self.address, request.body(empty()).unwrap()).await
    }

    pub fn token(&self, role: Role) -> String {
        self.token_of(new_id(), role)
    }

    pub fn token_of(&self, user: Uuid, role: Role) -> String {
        self.token_for(user, role, Duration::from_secs(600))
    }

    pub fn token_for(&self, user: Uuid, role: Role, ttl: Duration) -> String {
        let claims = match role {
            Role::Service => Claims::service("broker", ttl),
            role => Claims::user(user, role, new_id(), ttl),
        };
        self.keys.issue(&claims).unwrap()
    }

    /// Something happens on a channel: it is logged and told.
    pub async fn happen(&self, channel: &str, number: u64) -> ChannelEvent {
        self.happen_with(channel, json!({"n": number})).await
    }

    /// The same with data of its own.
    pub async fn happen_with(&self, channel: &str, data: Value) -> ChannelEvent {
        let event = self.append(channel, data).await;
        self.tell(&event).await;
        event
    }

    /// Something happens and the message about it is lost.
    pub async fn log_only(&self, channel: &str, number: u64) -> ChannelEvent {
        self.append(channel, json!({"n": number})).await
    }

    async fn append(&self, channel: &str, data: Value) -> ChannelEvent {
        let event = NewEvent { kind: "ai_task.progress".into(), id: new_id(), time: sker_types::now(), data };
        self.log.append(channel, event).await.unwrap()
    }

    pub async fn tell(&self, event: &ChannelEvent) {
        let message = Message::json(&event.kind, "test", "", event).unwrap();
        // A message that is lost with its connection is found in the log.
        let _ = self.bus.publish(topology::REALTIME_FANOUT, vec![message]).await;
    }

    pub async fn socket(&self, token: &str) -> Socket {
        let mut socket = Socket::open(self.address, &format!("/ws?token={token}")).await.unwrap();
        assert_eq!(socket.next().await["type"], "authenticated");
        socket
    }

    pub async fn shut_down(self) {
        self.stop.cancel();
        soon(self.running).await.unwrap().unwrap();
    }
}
