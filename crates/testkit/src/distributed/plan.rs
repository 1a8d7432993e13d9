use std::path::Path;

use anyhow::Result;
use tokio::sync::SemaphorePermit;

use super::{ADMIN, ADMIN_PASSWORD, Distributed, Service, outside::Places};
use crate::free_port;

/// Signs what the services of a platform tell each other.
const JWT_SECRET: &str = "k3Zt-9vQm2LxWp7RbYc4NsHd8GfJu6Ea";

/// How many of what a platform has, and what is configured differently.
#[derive(Clone, Debug)]
pub struct Plan {
    stores: usize,
    brokers: usize,
    gateways: usize,
    /// Gateways have one port, each at an address of its own.
    one_port: bool,
    /// Service (all of them when empty), key, value.
    settings: Vec<(String, String, String)>,
}

impl Default for Plan {
    /// One of each.
    fn default() -> Self {
        Plan { stores: 1, brokers: 1, gateways: 1, one_port: false, settings: Vec::new() }
    }
}

impl Plan {
    /// So many stores.
    pub fn stores(self, stores: usize) -> Self {
        Plan { stores, ..self }
    }

    /// So many brokers.
    pub fn brokers(self, brokers: usize) -> Self {
        Plan { brokers, ..self }
    }

    /// So many gateways.
    pub fn gateways(self, gateways: usize) -> Self {
        Plan { gateways, ..self }
    }

    /// Has every gateway on the same port, each at an address of its own (127.0.0.2, ...), as containers are.
    pub fn gateways_on_one_port(self) -> Self {
        Plan { one_port: true, ..self }
    }

    /// Sets a configuration key of every program of a service (`store`, `broker`, ...).
    pub fn with(mut self, service: &str, key: &str, value: &str) -> Self {
        self.settings.push((service.to_owned(), key.to_owned(), value.to_owned()));
        self
    }

    /// Sets a configuration key of every service.
    pub fn with_everywhere(self, key: &str, value: &str) -> Self {
        self.with("", key, value)
    }

    /// The programs, not started yet.
    pub(super) fn services(&self, home: &Path, places: &Places) -> Result<Services> {
        let registry = self.service("registry", 0, home, true)?;
        let registry_url = format!("http://127.0.0.1:{}", registry.grpc_port()?);
        let registered = |service: Service| service.env("REGISTRY_GRPC_URL", &registry_url);
        let messaging = |service: Service| {
            let service = service.env("RABBITMQ_URL", &places.rabbitmq).env("REDIS_URL", &places.redis);
            registered(service).set("redis.key_prefix", &places.redis_prefix)
        };
        let stores = (0..self.stores).map(|number| {
            let store = messaging(self.service("store", number, home, true)?).env("DATABASE_URL", &places.postgres);
            Ok(store.env("SKER_ADMIN_EMAIL", ADMIN).env("SKER_ADMIN_PASSWORD", ADMIN_PASSWORD))
        });
        let stores = stores.collect::<Result<Vec<Service>>>()?;
        let store_url = match stores.first() {
            Some(store) => format!("http://127.0.0.1:{}", store.grpc_port()?),
            None => anyhow::bail!("a platform without a store"),
        };
        let calling = |service: Service| messaging(service).env("STORE_GRPC_URL", &store_url);
        let brokers = (0..self.brokers).map(|number| Ok(calling(self.service("broker", number, home, true)?)));
        let port = free_port()?;
        let gateways = (0..self.gateways).map(|number| {
            let gateway = calling(self.service("gateway", number, home, false)?);
            Ok(if self.one_port { gateway.at(&format!("127.0.0.{}", number + 2), port) } else { gateway })
        });
        let database_service = registered(self.service("database-service", 0, home, true)?);
        Ok(Services {
            brokers: brokers.collect::<Result<_>>()?,
            gateways: gateways.collect::<Result<_>>()?,
            stores,
            registry: registry.env("DATABASE_URL", &places.postgres).set("database.schema", "registry"),
            database_service: database_service
                .env("DATABASE_URL", &places.postgres)
                .set("database.schema", "database_service"),
        })
    }

    /// What every program has.
    fn service(&self, name: &str, number: usize, home: &Path, grpc: bool) -> Result<Service> {
        let home = home.join(format!("{name}-{number}"));
        std::fs::create_dir_all(&home)?;
        let grpc = if grpc { Some(free_port()?) } else { None };
        let service = Service::new(name, number, home, free_port()?, grpc).env("JWT_SECRET", JWT_SECRET);
        let settings = self.settings.iter().filter(|(of, ..)| of.is_empty() || of == name);
        Ok(settings.fold(service, |service, (_, key, value)| service.set(key, value)))
    }
}

/// The programs of a platform.
pub(super) struct Services {
    registry: Service,
    stores: Vec<Service>,
    brokers: Vec<Service>,
    database_service: Service,
    gateways: Vec<Service>,
}

impl Services {
    pub(super) fn into_platform(self, places: Places, permit: SemaphorePermit<'static>) -> Distributed {
        let Services { registry, stores, brokers, database_service, gateways } = self;
        Distributed { registry, stores, brokers, database_service, gateways, _places: places, _permit: permit }
    }
}
