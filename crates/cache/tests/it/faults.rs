//! Redis away, back, hung, and without its data.

use std::time::{Duration, Instant};

use bytes::Bytes;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use secrecy::ExposeSecret;
use sker_cache::{Cache, RealtimeLog, Redis, RedisCache, RedisConfig, RedisLogOptions, Replay};
use sker_error::{Code, Error};
use sker_testkit::{PATIENCE, RedisServer, eventually};

use crate::support::{Raw, event, log, on};

const HOUR: Duration = Duration::from_hours(1);

fn assert_away(error: &Error) {
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.message().contains("Redis"), "{error:?}");
}

async fn until_back(redis: &Redis) {
    eventually("Redis is back", async || Ok(redis.ping().await.ok())).await.unwrap();
}

#[tokio::test]
async fn it_does_not_need_redis_to_begin_and_goes_on_when_redis_comes_back() {
    let mut server = RedisServer::start().await.unwrap();
    server.kill().await.unwrap();
    let redis = Redis::new(&on(&server)).unwrap();
    let cache = RedisCache::new(redis.clone());
    let error = redis.ping().await.unwrap_err();
    assert_away(&error);
    assert!(error.cause().is_some(), "the first failure says why");
    assert_away(&cache.increment("count", 1, HOUR).await.unwrap_err());
    for round in 1..4 {
        server.restart().await.unwrap();
        until_back(&redis).await;
        assert_eq!(cache.increment("count", 1, HOUR).await.unwrap(), round);
        server.kill().await.unwrap();
        eventually("its end is noticed", async || Ok(redis.ping().await.err())).await.unwrap();
    }
}

#[tokio::test]
async fn a_restart_between_two_commands_is_not_noticed() {
    let mut server = RedisServer::start().await.unwrap();
    let redis = Redis::new(&on(&server)).unwrap();
    let cache = RedisCache::new(redis.clone());
    let log = log(&on(&server), RedisLogOptions::default());
    for round in 1..5 {
        // All connections are in use, and a script is known to the server.
        let additions = (0..16).map(|_| cache.increment("count", 1, HOUR));
        futures::future::try_join_all(additions).await.unwrap();
        log.append("project:a", event(round)).await.unwrap();
        server.restart().await.unwrap();
        log.latest_many(&["project:a".into(), "project:b".into()]).await.unwrap();
        cache.put("key", Bytes::from(round.to_string()), HOUR).await.unwrap();
        assert_eq!(cache.get("key").await.unwrap(), Some(Bytes::from(round.to_string())));
    }
    assert_eq!(cache.get("count").await.unwrap().as_deref(), Some(&b"64"[..]));
}

#[tokio::test]
async fn readers_from_before_a_restart_start_over_since_its_last_events_may_be_lost() {
    let mut server = RedisServer::start().await.unwrap();
    let log = log(&on(&server), RedisLogOptions::default());
    let start = log.latest("project:a").await.unwrap();
    let seen = log.append("project:a", event(1)).await.unwrap().seq;
    server.restart().await.unwrap();
    let latest = log.latest("project:a").await.unwrap();
    assert!(latest > seen);
    for after in [start, seen] {
        assert_eq!(log.read("project:a", after, 10).await.unwrap(), Replay::TooOld { latest });
    }
    let next = log.append("project:a", event(2)).await.unwrap();
    assert_eq!(log.read("project:a", latest, 10).await.unwrap(), Replay::Events(vec![next]));
}

#[tokio::test]
async fn numbers_do_not_fall_when_redis_has_lost_everything() {
    let mut server = RedisServer::start_volatile().await.unwrap();
    let log = log(&on(&server), RedisLogOptions::default());
    let mut seen = 0;
    for round in 0..3 {
        for number in 0..10 {
            let seq = log.append("project:a", event(number)).await.unwrap().seq;
            assert!(seq > seen);
            seen = seq;
        }
        server.restart().await.unwrap();
        let replay = log.read("project:a", seen, 10).await.unwrap();
        assert!(matches!(replay, Replay::TooOld { latest } if latest > seen), "round {round}: {replay:?}");
    }
}

#[tokio::test]
async fn a_hung_server_costs_one_timeout_and_then_nothing() {
    let server = RedisServer::start().await.unwrap();
    let config = RedisConfig { timeout_ms: 1_000, ..on(&server) };
    let redis = Redis::new(&config).unwrap();
    let cache = RedisCache::new(redis.clone());
    cache.put("key", Bytes::from_static(b"value"), HOUR).await.unwrap();
    let server_pid = Pid::from_raw(server.pid() as i32);
    kill(server_pid, Signal::SIGSTOP).unwrap();
    let began = Instant::now();
    let together = (0..64).map(|_| cache.get("key"));
    let outcomes = futures::future::join_all(together).await;
    assert!(began.elapsed() < Duration::from_secs(5), "one timeout, not sixty-four");
    for outcome in outcomes {
        assert_away(&outcome.unwrap_err());
    }
    // Of many who ask while it hangs, only the tries wait.
    let (mut waited, mut refused) = (0, 0);
    while waited < 3 {
        assert!(began.elapsed() < PATIENCE, "nobody tries again");
        let asked = Instant::now();
        let error = cache.get("key").await.unwrap_err();
        assert_away(&error);
        if error.cause().is_none() {
            refused += 1;
            tokio::task::yield_now().await;
        } else {
            assert!(asked.elapsed() < Duration::from_secs(5));
            waited += 1;
        }
    }
    assert!(refused > 100 * waited, "{refused} refused at once while {waited} waited");
    kill(server_pid, Signal::SIGCONT).unwrap();
    until_back(&redis).await;
    let value = cache.get("key").await.unwrap();
    assert_eq!(value.as_deref(), Some(&b"value"[..]));
}

#[tokio::test]
async fn connections_that_the_server_ends_are_replaced_without_an_error() {
    let server = RedisServer::start().await.unwrap();
    let config = on(&server);
    let cache = RedisCache::new(Redis::new(&config).unwrap());
    let mut raw = Raw::of(&config).await;
    for sum in 1..50 {
        assert_eq!(cache.increment("count", 1, HOUR).await.unwrap(), sum);
        let _: i64 = raw.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
        // A read finds out, at the latest; it is repeated, an addition would not be.
        for _ in 0..config.max_connections {
            assert!(cache.get("count").await.unwrap().is_some());
        }
    }
}

#[tokio::test]
async fn the_server_can_list_who_is_connected() {
    let server = RedisServer::start().await.unwrap();
    let config = on(&server);
    let redis = Redis::new(&config).unwrap();
    futures::future::try_join_all((0..64).map(|_| redis.ping())).await.unwrap();
    let list: String = Raw::of(&config).await.ask(&["CLIENT", "LIST"]).await;
    let program = std::env::current_exe().unwrap();
    let name = format!(" name={} ", program.file_stem().unwrap().to_str().unwrap());
    assert_eq!(list.matches(&name).count(), config.max_connections, "{list}");
}

#[tokio::test]
async fn a_user_of_ones_own_is_enough_and_a_wrong_password_is_not_told() {
    let server = RedisServer::start().await.unwrap();
    let config = on(&server);
    let mut raw = Raw::of(&config).await;
    let rights = "on >hunter2 ~t:* +@connection +info +get +set +unlink +incrby +hget +hmget +hset +hdel +hincrby +pttl \
                  +pexpire +time +evalsha +script|load";
    let mut command = vec!["ACL", "SETUSER", "sker"];
    command.extend(rights.split_whitespace());
    let _: String = raw.ask(&command).await;
    let as_user = |password: &str| {
        let url = config.url.expose_secret().replace("redis://", &format!("redis://sker:{password}@"));
        Redis::new(&RedisConfig { url: url.into(), ..config.clone() }).unwrap()
    };
    let redis = as_user("hunter2");
    redis.ping().await.unwrap();
    sker_cache::contract::run_cache(RedisCache::new(redis.clone())).await;
    let log = sker_cache::RedisLog::new(redis, RedisLogOptions::default());
    let first = log.append("project:a", event(1)).await.unwrap();
    assert_eq!(log.read("project:a", 0, 10).await.unwrap(), Replay::Events(vec![first]));

    let redis = as_user("swordfish");
    let error = redis.ping().await.unwrap_err();
    assert_away(&error);
    let cause = error.cause().unwrap().to_string();
    assert!(cause.contains("WRONGPASS") || cause.contains("uthentication"), "{cause}");
    assert!(!format!("{error:?} {redis:?}").contains("swordfish"));
}
