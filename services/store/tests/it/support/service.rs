use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use sker_api::{
    Store,
    grpc::{self, ClientAuth, StoreClient},
};
use sker_auth::{ServiceTokens, TokenKeys};
use sker_bus::{Bus, MemoryBus};
use sker_cache::{MemoryLog, MemoryLogOptions, RealtimeLog};
use sker_config::CommonArgs;
use sker_runtime::{Listeners, program::ServiceConfig};
use sker_store::{Config, Deps, build};
use sker_testkit::Api;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::FakeRegistry;

/// How long a store may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// Signs the tokens of every test store.
const SECRET: &str = "qx7-ZtU2rnB9kW4mLp0VaEo8sYhJcDfG";

/// Where to find a PostgreSQL server to run on instead of SQLite; each test has a schema of its own.
const POSTGRES_URL: &str = "SKER_TEST_POSTGRES_URL";

/// The first administrator.
pub const ADMIN: &str = "admin@example.org";

/// What a store is made of. Its data live as long as this does.
pub struct Setup {
    pub bus: Arc<dyn Bus>,
    pub log: Arc<dyn RealtimeLog>,
    pub registry: Arc<FakeRegistry>,
    directory: TempDir,
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
    pub fn new() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let url = format!("sqlite://{}", directory.path().join("store.db").display());
        let setup = Setup {
            bus: Arc::new(MemoryBus::new()),
            log: log_of(1),
            registry: Arc::default(),
            directory,
            boot: 1,
            overrides: Vec::new(),
        };
        let setup = match std::env::var(POSTGRES_URL) {
            Ok(url) => {
                let schema = format!("t{}", sker_types::new_id().simple());
                setup.with("database.url", &url).with("database.schema", &schema)
            }
            Err(_) => setup.with("database.url", &url),
        };
        Ok(setup
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
        // Not the environment of whoever runs the tests.
        let mut layers = <Config as ServiceConfig>::layers(&CommonArgs::default());
        layers.env = BTreeMap::new();
        layers.overrides = self.overrides.clone();
        let config = <Config as ServiceConfig>::load(&layers).map_err(|faults| anyhow::anyhow!("{faults}"))?;
        let keys = Arc::new(TokenKeys::hs256(&SECRET.into())?);
        let listeners = Listeners::free(true)?;
        let http = Api::new(&format!("http://{}", listeners.http_address()?))?;
        let grpc = format!("http://{}", listeners.grpc_address()?.context("asked for gRPC")?);
        let deps =
            Deps { registry: self.registry.clone(), keys: keys.clone(), bus: self.bus.clone(), log: self.log.clone() };
        let service = build(config, deps, listeners).await?;
        let api = service.api();
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(service.run(shutdown.clone()));
        Ok(TestStore { setup: self, http, api, grpc, keys, shutdown: shutdown.drop_guard(), running })
    }
}

impl TestStore {
    /// A store as most tests need it.
    pub async fn new() -> Result<Self> {
        Setup::new()?.start().await
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
