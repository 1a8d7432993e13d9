//! Where the rest of the platform is, for the broker as a program of its own. Embedded in another process it is given
//! everything and looks at none of this.

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sker_bus::AmqpConfig;
use sker_cache::RedisConfig;
use sker_config::{Environment, Faults};
use url::Url;

/// Where the rest of the platform is.
#[derive(Clone, Debug)]
pub struct Outside {
    /// The bus.
    pub rabbitmq: AmqpConfig,
    /// Where streamed text goes.
    pub redis: RedisConfig,
    /// The registry's gRPC address.
    pub registry_url: String,
    /// The store's gRPC address.
    pub store_url: String,
}

impl Outside {
    /// Names what is wrong with it.
    pub(super) fn check(&self, environment: Environment, faults: &mut Faults) {
        for (section, wrong) in [("rabbitmq", self.rabbitmq.faults()), ("redis", self.redis.faults())] {
            for (key, message) in wrong {
                faults.add(&format!("{section}.{key}"), message);
            }
        }
        let is_default = self.rabbitmq.url.expose_secret().contains("://guest:guest@");
        let refused = environment.is_production() && is_default;
        faults.check(!refused, "rabbitmq.url", "has RabbitMQ's default password, which production refuses");
        for (key, url) in [("registration.registry_url", &self.registry_url), ("store.url", &self.store_url)] {
            let usable = Url::parse(url).is_ok_and(|url| url.scheme() == "http" && url.has_host());
            faults.check(usable, key, "must be an address like http://10.0.0.7:50051");
        }
    }
}

#[derive(Deserialize)]
pub(super) struct RawRedis {
    url: SecretString,
    host: String,
    key_prefix: String,
    max_connections: usize,
    timeout_ms: u64,
}

impl RawRedis {
    pub(super) fn into_config(self) -> RedisConfig {
        let url = match self.url.expose_secret() {
            "" => format!("redis://{}:6379", self.host).into(),
            _ => self.url,
        };
        let RawRedis { key_prefix, max_connections, timeout_ms, .. } = self;
        RedisConfig { url, key_prefix, max_connections, timeout_ms }
    }
}

#[derive(Deserialize)]
pub(super) struct RawStore {
    pub(super) url: String,
}
