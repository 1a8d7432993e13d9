use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use sker_api::{
    Store,
    grpc::{self, ClientAuth, StoreClient},
};
use sker_auth::{ServiceTokens, TokenKeys};
use sker_bus::{Bus, MemoryBus};
use sker_cache::{Cache, MemoryCache, MemoryLog, MemoryLogOptions, RealtimeLog};
use sker_config::CommonArgs;
use sker_runtime::{Listeners, program::ServiceConfig};
use sker_store::{Config, Deps, Service, build};
use sker_testkit::{Api, TestDatabase, postgres_database};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::FakeRegistry;
use crate::ON_POSTGRES;

/// How long a store may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// Signs the tokens of every test store.
const SECRET: &str = "qx7-ZtU2rnB9kW4mLp0VaEo8sYhJcDfG";

/// The first administrator.
pub const ADMIN: &str = "admin@example.org";

/// What a store is made of. Its data live as long as any clone of this does; stores that are started of clones share them.
#[derive(Clone)]
pub struct Setup {
    pub bus: Arc<dyn Bus>,
    pub log: Arc<dyn RealtimeLog>,
    pub cache: Arc<dyn Cache>,
    pub registry: Arc<FakeRegistry>,
    directory: Arc<TempDir>,
    _database: Option<Arc<TestDatabase>>,
    boot: u32,
    overrides: Vec<(String, String)>,
}

/// A store that runs until it is stopped or dropped.
pub struct TestStore {
    pub setup: Setup,
    /// HTTP without credentials.
    pub http: Api,
    /// What other services of the same process call.
    pub api: Arc<dyn Store>,
    /// The URL of its gRPC port.
    pub grpc: String,
    pub keys: Arc<TokenKeys>,
    shutdown: DropGuard,
    running: JoinHandle<Result<()>>,
}

impl Setup {
    /// With a database in which there is the administrator and nothing else.
    pub async fn new() -> Result<Self> {
        if !ON_POSTGRES {
            return Self::on_sqlite();
        }
        let make = async |url: &str| {
            let service = Self::on_url(url, None)?.build().await?.0;
            let stopped = CancellationToken::new();
            stopped.cancel();
            service.run(stopped).await
        };
        Self::on_postgres(postgres_database("store", make).await?)
    }

    /// With a database in which there is nothing at all.
    pub async fn empty() -> Result<Self> {
        if !ON_POSTGRES {
            return Self::on_sqlite();
        }
        Self::on_postgres(postgres_database("empty", async |_: &str| Ok(())).await?)
    }

    fn on_sqlite() -> Result<Self> {
        let setup = Self::on_url("", None)?;
        let file = setup.path().join("store.db");
        Ok(setup.with("database.url", &format!("sqlite://{}", file.display())))
    }

    fn on_postgres(database: TestDatabase) -> Result<Self> {
        let url = database.url().to_owned();
        Self::on_url(&url, Some(Arc::new(database)))
    }

    /// With the database at a URL.
    pub fn on_url(url: &str, database: Option<Arc<TestDatabase>>) -> Result<Self> {
        let setup = Setup {
            bus: Arc::new(MemoryBus::new()),
            log: log_of(1),
            cache: Arc::new(MemoryCache::new(1_000)),
            registry: Arc::default(),
            directory: Arc::new(tempfile::tempdir()?),
            _database: database,
            boot: 1,
            overrides: Vec::new(),
        };
        Ok(setup
            .with("database.url", url)
            .with("database.max_connections", "4")
            .with("jwt_secret", SECRET)
            .with("http.workers", "1")
            .with("admin.email", ADMIN)
            .with("admin.password", super::PASSWORD)
            .with("tasks.retry_base_ms", "20")
            .with("tasks.retry_max_ms", "100")
            .with("tasks.reconcile_interval_ms", "20")
            .with("shutdown.settle_ms", "0"))
    }

    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.overrides.push((key.to_owned(), value.to_owned()));
        self
    }

    pub fn with_bus(self, bus: Arc<dyn Bus>) -> Self {
        Setup { bus, ..self }
    }

    /// As a new process finds it: the same data, but nothing of what the last one had in memory.
    pub fn after_a_crash(self) -> Self {
        let boot = self.boot + 1;
        Setup { bus: Arc::new(MemoryBus::new()), log: log_of(boot), boot, ..self }
    }

    /// Where its data are.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub async fn start(self) -> Result<TestStore> {
        let (service, http, grpc, keys) = self.build().await?;
        let api = service.api();
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(service.run(shutdown.clone()));
        Ok(TestStore { setup: self, http, api, grpc, keys, shutdown: shutdown.drop_guard(), running })
    }

    async fn build(&self) -> Result<(Service, Api, String, Arc<TokenKeys>)> {
        // Not the environment of whoever runs the tests.
        let mut layers = <Config as ServiceConfig>::layers(&CommonArgs::default());
        layers.env = BTreeMap::new();
        layers.overrides = self.overrides.clone();
        let config = <Config as ServiceConfig>::load(&layers).map_err(|faults| anyhow::anyhow!("{faults}"))?;
        let keys = Arc::new(TokenKeys::hs256(&SECRET.into())?);
        let listeners = Listeners::free(true)?;
        let http = Api::new(&format!("http://{}", listeners.http_address()?))?;
        let grpc = format!("http://{}", listeners.grpc_address()?.context("asked for gRPC")?);
        let deps = Deps {
            registry: self.registry.clone(),
            keys: keys.clone(),
            bus: self.bus.clone(),
            log: self.log.clone(),
            cache: self.cache.clone(),
        };
        Ok((build(config, deps, listeners).await?, http, grpc, keys))
    }
}

impl TestStore {
    /// A store as most tests need it.
    pub async fn new() -> Result<Self> {
        Setup::new().await?.start().await
    }

    /// The same api across the network, as another service calls it.
    pub fn client(&self) -> Result<StoreClient> {
        let tokens = Arc::new(ServiceTokens::new(self.keys.clone(), "broker"));
        Ok(StoreClient::new(grpc::channel(&self.grpc)?, ClientAuth::new(tokens)))
    }

    /// The administrator.
    pub async fn admin(&self) -> Result<Api> {
        self.http.log_in(ADMIN, super::PASSWORD).await
    }

    /// Stops it in order; its data and whatever it was connected to are left.
    pub async fn stop(self) -> Result<Setup> {
        let TestStore { setup, shutdown, running, .. } = self;
        drop(shutdown);
        tokio::time::timeout(STOP_LIMIT, running).await.context("it does not stop")???;
        Ok(setup)
    }
}

fn log_of(boot: u32) -> Arc<dyn RealtimeLog> {
    Arc::new(MemoryLog::new(boot, MemoryLogOptions::default()))
}
