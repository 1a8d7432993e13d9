use std::sync::Arc;

use sker_api::{
    Registry, Store,
    grpc::{ClientAuth, RegistryClient, StoreClient, channel},
};
use sker_auth::{ServiceTokens, TokenKeys};
use sker_bus::{AmqpBus, Bus};
use sker_cache::{RealtimeLog, Redis, RedisLog, RedisLogOptions};
use sker_error::Result;
use sker_runtime::program::ServiceConfig;

use crate::{Config, config::Outside};

/// What the gateway needs from elsewhere.
#[derive(Clone)]
pub struct Deps {
    /// Where routes come from, and where it registers itself.
    pub registry: Arc<dyn Registry>,
    /// What a token does not say.
    pub store: Arc<dyn Store>,
    /// What happens.
    pub bus: Arc<dyn Bus>,
    /// What happened.
    pub log: Arc<dyn RealtimeLog>,
    /// What the log is kept on, to ask whether it answers; none for a log in memory.
    pub redis: Option<Redis>,
    /// What tokens are verified with.
    pub keys: Arc<TokenKeys>,
}

impl Deps {
    /// Everything across the network: registry and store by gRPC, RabbitMQ, Redis. Waits for none of them to be there.
    ///
    /// # Errors
    /// An address or a secret that cannot be used.
    pub async fn connect(config: &Config) -> Result<Deps> {
        let Outside { rabbitmq, redis, registry_url, store_url } = &config.outside;
        let keys = Arc::new(TokenKeys::hs256(&config.jwt_secret)?);
        let auth = ClientAuth::new(Arc::new(ServiceTokens::new(Arc::clone(&keys), Config::SERVICE)));
        let redis = Redis::new(redis)?;
        let bus = AmqpBus::start(rabbitmq, Config::SERVICE)?;
        bus.attempted().await;
        Ok(Deps {
            registry: Arc::new(RegistryClient::new(channel(registry_url)?, auth.clone())),
            store: Arc::new(StoreClient::new(channel(store_url)?, auth)),
            bus: Arc::new(bus),
            log: Arc::new(RedisLog::new(redis.clone(), RedisLogOptions::default())),
            redis: Some(redis),
            keys,
        })
    }
}
