use redis::{FromRedisValue, aio::MultiplexedConnection, cmd};
use serde_json::json;
use sker_cache::{NewEvent, Redis, RedisConfig, RedisLog, RedisLogOptions};
use sker_testkit::{RedisServer, redis_prefix, redis_url};

/// The shared server, with keys nobody else has.
pub fn shared() -> RedisConfig {
    RedisConfig {
        url: redis_url().expect("the shared Redis server; `cargo xtask test` starts it").into(),
        key_prefix: redis_prefix(),
        ..RedisConfig::default()
    }
}

/// A server of the test's own.
pub fn on(server: &RedisServer) -> RedisConfig {
    RedisConfig { url: server.url().into(), key_prefix: redis_prefix(), timeout_ms: 500, ..RedisConfig::default() }
}

pub fn log(config: &RedisConfig, options: RedisLogOptions) -> RedisLog {
    RedisLog::new(Redis::new(config).unwrap(), options)
}

pub fn event(number: u64) -> NewEvent {
    NewEvent {
        kind: "node.created".into(),
        id: sker_types::new_id(),
        time: sker_types::now(),
        data: json!({ "n": number }),
    }
}

/// A look at the server past everything under test.
pub struct Raw {
    connection: MultiplexedConnection,
    prefix: String,
}

impl Raw {
    pub async fn of(config: &RedisConfig) -> Raw {
        use secrecy::ExposeSecret;
        let client = redis::Client::open(config.url.expose_secret()).unwrap();
        let connection = client.get_multiplexed_async_connection().await.unwrap();
        Raw { connection, prefix: config.key_prefix.trim_end_matches(':').to_owned() }
    }

    pub async fn ask<T: FromRedisValue>(&mut self, command: &[&str]) -> T {
        let mut request = cmd(command[0]);
        request.arg(&command[1..]);
        request.query_async(&mut self.connection).await.unwrap()
    }

    pub async fn keys(&mut self) -> Vec<String> {
        let pattern = format!("{}:*", self.prefix);
        let mut keys: Vec<String> = Vec::new();
        let mut cursor = "0".to_owned();
        loop {
            let (next, some): (String, Vec<String>) =
                self.ask(&["SCAN", &cursor, "MATCH", &pattern, "COUNT", "1000"]).await;
            keys.extend(some);
            if next == "0" {
                return keys;
            }
            cursor = next;
        }
    }

    /// Everything under the prefix is gone, as after FLUSHALL.
    pub async fn lose(&mut self) {
        for key in self.keys().await {
            let _: i64 = self.ask(&["DEL", &key]).await;
        }
    }
}
