use std::sync::Arc;

use sker_api::{
    Registry, Store,
    grpc::{ClientAuth, RegistryClient, StoreClient, channel},
};
use sker_auth::{ServiceTokens, TokenKeys};
use sker_bus::{AmqpBus, Bus};
use sker_cache::{RealtimeLog, Redis, RedisLog, RedisLogOptions};
use sker_error::Result;

use crate::{Config, Outside, SERVICE};

/// What the service is given by whoever runs it.
#[derive(Clone)]
pub struct Deps {
    /// Where it registers.
    pub registry: Arc<dyn Registry>,
    /// Where tasks and nodes are.
    pub store: Arc<dyn Store>,
    /// What wakes it.
    pub bus: Arc<dyn Bus>,
    /// Where streamed text goes.
    pub log: Arc<dyn RealtimeLog>,
    /// What the log is kept on, to ask whether it answers; none for a log in memory.
    pub redis: Option<Redis>,
    /// What it verifies tokens with.
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
        let auth = ClientAuth::new(Arc::new(ServiceTokens::new(Arc::clone(&keys), SERVICE)));
        let redis = Redis::new(redis)?;
        let bus = AmqpBus::start(rabbitmq, SERVICE)?;
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
