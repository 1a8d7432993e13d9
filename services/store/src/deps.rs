use std::sync::Arc;

use anyhow::Context;
use sker_api::{
    Registry,
    grpc::{ClientAuth, RegistryClient, channel},
};
use sker_auth::{ServiceTokens, TokenKeys};
use sker_bus::{AmqpBus, Bus};
use sker_cache::{Cache, RealtimeLog, Redis, RedisCache, RedisLog, RedisLogOptions};

use crate::{Config, SERVICE};

/// What the store is given by whoever runs it. Its database it opens itself, as configured.
#[derive(Clone)]
pub struct Deps {
    /// Where it registers.
    pub registry: Arc<dyn Registry>,
    /// What it signs and verifies tokens with.
    pub keys: Arc<TokenKeys>,
    /// Where events and wake-ups go.
    pub bus: Arc<dyn Bus>,
    /// Where realtime channels are kept.
    pub log: Arc<dyn RealtimeLog>,
    /// What its replicas share and may forget.
    pub cache: Arc<dyn Cache>,
}

impl Deps {
    /// Those of a program of its own: RabbitMQ, Redis and the registry, as configured. Waits for none of them to be there. Close the
    /// bus in the end.
    ///
    /// # Errors
    /// For URLs that cannot be used.
    pub async fn connect(config: &Config) -> anyhow::Result<Self> {
        let keys = Arc::new(TokenKeys::hs256(&config.jwt_secret)?);
        let auth = ClientAuth::new(Arc::new(ServiceTokens::new(Arc::clone(&keys), SERVICE)));
        let registry = channel(&config.registry_url).context("registration.registry_url")?;
        let redis = Redis::new(&config.redis).context("redis.url")?;
        let bus = AmqpBus::start(&config.rabbitmq, SERVICE).context("rabbitmq.url")?;
        bus.attempted().await;
        Ok(Deps {
            registry: Arc::new(RegistryClient::new(registry, auth)),
            keys,
            bus: Arc::new(bus),
            log: Arc::new(RedisLog::new(redis.clone(), RedisLogOptions::default())),
            cache: Arc::new(RedisCache::new(redis)),
        })
    }
}
