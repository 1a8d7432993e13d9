//! A store of one's own, with a bus and a log in memory, on SQLite or on the PostgreSQL server that a variable names.

use std::sync::Arc;

use anyhow::{Context, Result};
use async_trait::async_trait;
use futures::StreamExt as _;
use secrecy::SecretString;
use serde_json::{Value, json};
use sker_api::{
    Ctx, Registry, Store, WatchStream,
    grpc::{ClientAuth, StoreClient, channel},
    proto::{
        registry::{
            DeregisterRequest, DeregisterResponse, DiscoverRequest, DiscoverResponse, HeartbeatRequest,
            HeartbeatResponse, ListServicesRequest, ListServicesResponse, RegisterRequest, RegisterResponse,
            WatchRequest,
        },
        store::{ClaimTasksRequest, ClaimTasksResponse, CompleteTaskRequest, FailTaskRequest, Lease},
    },
};
use sker_auth::{ServiceTokens, TokenKeys};
use sker_bus::MemoryBus;
use sker_cache::{MemoryLog, MemoryLogOptions, RealtimeLog, Replay};
use sker_runtime::Listeners;
use sker_store::{Config, Deps, build, layers};
use sker_testkit::{Api, eventually};
use sker_types::ChannelEvent;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const SECRET: &str = "a secret of tests, long enough for HS256";
/// Where to find a PostgreSQL server to run on instead of SQLite; each test has a schema of its own.
const POSTGRES_URL: &str = "SKER_TEST_POSTGRES_URL";
pub const ADMIN_PASSWORD: &str = "the administrator's password";

/// A store that runs.
pub struct World {
    /// Its HTTP interface, not signed in.
    pub api: Api,
    /// What other services call, directly.
    pub store: Arc<dyn Store>,
    /// The same over gRPC.
    pub grpc: StoreClient,
    pub log: Arc<MemoryLog>,
    pub bus: MemoryBus,
    pub keys: Arc<TokenKeys>,
    pub directory: TempDir,
    settings: Vec<(String, String)>,
    shutdown: CancellationToken,
    running: JoinHandle<Result<()>>,
}

impl World {
    /// A store with the defaults, but for a reconciler that is quick.
    pub async fn start() -> Result<Self> {
        Self::start_with(&[]).await
    }

    /// A store with some settings of one's own.
    pub async fn start_with(settings: &[(&str, &str)]) -> Result<Self> {
        let mut settings: Vec<(String, String)> =
            settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        if let Ok(url) = std::env::var(POSTGRES_URL) {
            settings.push(("database.url".to_owned(), url));
            settings.push(("database.schema".to_owned(), format!("t{}", sker_types::new_id().simple())));
        }
        Self::run(tempfile::tempdir()?, MemoryBus::new(), 1, settings).await
    }

    /// Stops it and starts another one on the same file; what was in the bus and the log is lost.
    pub async fn restart(self) -> Result<Self> {
        let World { directory, settings, shutdown, running, .. } = self;
        shutdown.cancel();
        running.await??;
        Self::run(directory, MemoryBus::new(), 2, settings).await
    }

    async fn run(directory: TempDir, bus: MemoryBus, boot: u32, settings: Vec<(String, String)>) -> Result<Self> {
        let mut layers = layers();
        let file = directory.path().join("store.db");
        layers.overrides = [
            ("jwt_secret", SECRET),
            ("database.url", &format!("sqlite://{}", file.display())),
            ("admin.password", ADMIN_PASSWORD),
            ("http.port", "0"),
            ("grpc.port", "0"),
            ("shutdown.settle_ms", "0"),
            ("tasks.reconcile_interval_ms", "20"),
            ("tasks.retry_base_ms", "20"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into_iter()
        .chain(settings.clone())
        .collect();
        let config = Config::load(&layers)?;
        let keys = Arc::new(TokenKeys::hs256(&SecretString::from(SECRET))?);
        let log = Arc::new(MemoryLog::new(boot, MemoryLogOptions::default()));
        let deps = Deps {
            registry: Arc::new(LonelyRegistry),
            keys: keys.clone(),
            bus: Arc::new(bus.clone()),
            log: log.clone(),
        };
        let listeners = Listeners::free(true)?;
        let http = listeners.http_address()?;
        let grpc = listeners.grpc_address()?.context("gRPC is served")?;
        let service = build(config, deps, listeners).await?;
        let (store, health) = (service.api(), service.health());
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(service.run(shutdown.clone()));
        health.until_ready().await;
        let auth = ClientAuth::new(Arc::new(ServiceTokens::new(keys.clone(), "tests")));
        let grpc = StoreClient::new(channel(&format!("http://{grpc}"))?, auth);
        let api = Api::new(&format!("http://{http}"))?;
        Ok(World { api, store, grpc, log, bus, keys, directory, settings, shutdown, running })
    }

    /// Signed in as the first administrator.
    pub async fn admin(&self) -> Result<Api> {
        self.api.log_in("admin@sker.local", ADMIN_PASSWORD).await
    }

    /// The kinds of a channel's events, as soon as they end with `last`.
    pub async fn kinds(&self, channel: &str, last: &str) -> Result<Vec<String>> {
        let events = self.events(channel, last).await?;
        Ok(events.into_iter().map(|event| event.kind).collect())
    }

    /// A channel's events, as soon as they end with `last`.
    pub async fn events(&self, channel: &str, last: &str) -> Result<Vec<ChannelEvent>> {
        eventually(&format!("{channel} ends with {last}"), async || {
            let Replay::Events(events) = self.log.read(channel, 0, 10_000).await? else { return Ok(None) };
            Ok(events.last().is_some_and(|event| event.kind == last).then_some(events))
        })
        .await
    }

    /// Claims one task.
    pub async fn claim(&self, session: &str, task: &str, lease_ms: u64) -> Result<ClaimTasksResponse> {
        let request =
            ClaimTasksRequest { ids: vec![task.to_owned()], limit: 1, session_id: session.to_owned(), lease_ms };
        Ok(self.store.claim_tasks(&broker(), request).await?)
    }

    /// Claims one task, which must be free.
    pub async fn lease(&self, session: &str, task: &str) -> Result<Lease> {
        self.lease_for(session, task, 60_000).await
    }

    /// Claims one task, which must be free, for a time.
    pub async fn lease_for(&self, session: &str, task: &str, lease_ms: u64) -> Result<Lease> {
        let claimed = self.claim(session, task, lease_ms).await?;
        let task = claimed.tasks.first().with_context(|| format!("not claimed: {:?}", claimed.unclaimed))?;
        Ok(Lease { task_id: task.id.clone(), lease_epoch: task.lease_epoch })
    }
}

/// What a broker calls with.
pub fn broker() -> Ctx {
    Ctx::service("broker")
}

pub fn completion(lease: &Lease, output: &Value) -> CompleteTaskRequest {
    CompleteTaskRequest { lease: Some(lease.clone()), output_json: output.to_string(), usage: None }
}

pub fn failure(lease: &Lease, code: &str, retryable: bool) -> FailTaskRequest {
    FailTaskRequest {
        lease: Some(lease.clone()),
        code: code.to_owned(),
        message: "in a test".to_owned(),
        retryable,
        retry_after_ms: 0,
        usage: None,
    }
}

/// The result of a semantic analysis.
pub fn analysis() -> Value {
    json!({
        "tags": ["rust", "services"], "semantic_types": ["article"], "language": "en", "confidence": 0.9,
        "engine": "tests", "generative": false, "usage": {},
    })
}

/// A registry that knows nobody else.
struct LonelyRegistry;

#[async_trait]
impl Registry for LonelyRegistry {
    async fn register(&self, _: &Ctx, request: RegisterRequest) -> sker_error::Result<RegisterResponse> {
        Ok(RegisterResponse { instance: request.instance, created: true })
    }

    async fn heartbeat(&self, _: &Ctx, request: HeartbeatRequest) -> sker_error::Result<HeartbeatResponse> {
        let renewed = u32::try_from(request.instance_ids.len()).unwrap_or(u32::MAX);
        Ok(HeartbeatResponse { renewed, unknown: Vec::new() })
    }

    async fn deregister(&self, _: &Ctx, _: DeregisterRequest) -> sker_error::Result<DeregisterResponse> {
        Ok(DeregisterResponse {})
    }

    async fn discover(&self, _: &Ctx, _: DiscoverRequest) -> sker_error::Result<DiscoverResponse> {
        Ok(DiscoverResponse::default())
    }

    async fn list_services(&self, _: &Ctx, _: ListServicesRequest) -> sker_error::Result<ListServicesResponse> {
        Ok(ListServicesResponse::default())
    }

    async fn watch(&self, _: &Ctx, _: WatchRequest) -> sker_error::Result<WatchStream> {
        Ok(futures::stream::pending().boxed())
    }
}
