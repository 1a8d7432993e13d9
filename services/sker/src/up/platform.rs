//! Five services in one process, started in the order of what they need and stopped in reverse.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::StatusCode;
use secrecy::SecretString;
use sker_auth::TokenKeys;
use sker_bus::{Bus, MemoryBus};
use sker_cache::{Cache, MemoryCache, MemoryLog, MemoryLogOptions, RealtimeLog};
use sker_runtime::{GrpcConfig, HttpConfig, Listeners, bind};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{data_dir::DataDir, prepare::Prepared};
use crate::exit::{Exit, Failure};

/// How long the platform may take to get ready.
const GET_READY: Duration = Duration::from_secs(30);
/// How often it is asked meanwhile.
const ASK_EVERY: Duration = Duration::from_millis(15);
/// Beyond its own limit a service is not waited for any longer than this.
const STOP_LIMIT: Duration = Duration::from_secs(40);

/// Where a service listens.
#[derive(Clone, Copy, Debug)]
pub struct Address {
    /// The service.
    pub service: &'static str,
    /// Its HTTP address.
    pub http: SocketAddr,
    /// Its gRPC address, when it has one.
    pub grpc: Option<SocketAddr>,
}

/// A platform that runs.
pub struct Platform {
    /// In the order of their start.
    running: Vec<Running>,
    addresses: Vec<Address>,
    gateway_url: String,
    first_admin: Option<(String, SecretString)>,
    bus: MemoryBus,
    /// Why the first service ended that was not told to.
    failed: watch::Sender<Option<String>>,
    started_in: Duration,
    /// Kept locked for as long as anything runs.
    _data: DataDir,
}

struct Running {
    service: &'static str,
    token: CancellationToken,
    handle: JoinHandle<()>,
}

impl Platform {
    /// Starts all services and waits until the gateway reaches them. When that fails, or `shutdown` is cancelled before
    /// (`None`), those that run are stopped.
    pub async fn start(
        prepared: Prepared,
        began: Instant,
        shutdown: &CancellationToken,
    ) -> Result<Option<Self>, Failure> {
        let sockets = Sockets::bind(&prepared)?;
        let mut platform = Platform {
            running: Vec::new(),
            addresses: sockets.addresses()?,
            gateway_url: String::new(),
            first_admin: None,
            bus: MemoryBus::new(),
            failed: watch::Sender::new(None),
            started_in: Duration::ZERO,
            _data: prepared.data,
        };
        let parts = Parts { configs: prepared.configs, boot: prepared.boot, sockets };
        let start = async {
            platform.build(parts).await?;
            platform.until_ready().await
        };
        match shutdown.run_until_cancelled(start).await {
            Some(Ok(())) => {
                platform.started_in = began.elapsed();
                Ok(Some(platform))
            }
            Some(Err(failure)) => {
                platform.stop().await;
                Err(failure)
            }
            None => {
                platform.stop().await;
                Ok(None)
            }
        }
    }

    /// Where the services listen.
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// The gateway's URL.
    pub fn gateway_url(&self) -> &str {
        &self.gateway_url
    }

    /// The first administrator's email and password, when this start made them up.
    pub fn first_admin(&self) -> Option<&(String, SecretString)> {
        self.first_admin.as_ref()
    }

    /// How long it took until all was ready.
    pub fn started_in(&self) -> Duration {
        self.started_in
    }

    /// Waits until a service ends that was not told to, and says which and why.
    pub async fn failed(&self) -> String {
        let mut failed = self.failed.subscribe();
        match failed.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            // The sender lives in `self`.
            Err(_) => std::future::pending().await,
        }
    }

    /// Stops the services one by one, the last one first: each can still reach what it needs while it finishes.
    pub async fn stop(mut self) {
        while let Some(Running { service, token, mut handle }) = self.running.pop() {
            token.cancel();
            if tokio::time::timeout(STOP_LIMIT, &mut handle).await.is_err() {
                tracing::error!(service, "{service} did not stop in time and was dropped");
                handle.abort();
            }
        }
        self.bus.close().await;
    }

    async fn build(&mut self, parts: Parts) -> anyhow::Result<()> {
        let Parts { configs, boot, sockets } = parts;
        let keys = Arc::new(TokenKeys::hs256(&configs.gateway.jwt_secret)?);
        let bus: Arc<dyn Bus> = Arc::new(self.bus.clone());
        let log: Arc<dyn RealtimeLog> = Arc::new(MemoryLog::new(boot, MemoryLogOptions::default()));

        let cache: Arc<dyn Cache> = Arc::new(MemoryCache::new(10_000));

        let deps = sker_registry::Deps::connect(&configs.registry).await?;
        let service = sker_registry::build(configs.registry, deps, sockets.registry).await?;
        let registry = service.api();
        self.run("registry", |token| service.run(token));

        let deps = sker_store::Deps {
            registry: registry.clone(),
            keys: keys.clone(),
            bus: bus.clone(),
            log: log.clone(),
            cache,
        };
        let service = sker_store::build(configs.store, deps, sockets.store).await?;
        let store = service.api();
        self.first_admin = service.first_admin_password().map(|(email, password)| (email.to_owned(), password.clone()));
        self.run("store", |token| service.run(token));

        let deps = sker_database_service::Deps { registry: registry.clone(), keys: keys.clone() };
        let service = sker_database_service::build(configs.database_service, deps, sockets.database_service).await?;
        self.run("database-service", |token| service.run(token));

        let deps = sker_broker::Deps {
            registry: registry.clone(),
            store: store.clone(),
            keys: keys.clone(),
            bus: bus.clone(),
            log: log.clone(),
            redis: None,
        };
        let service = sker_broker::build(configs.broker, deps, sockets.broker).await?;
        self.run("broker", |token| service.run(token));

        let deps = sker_gateway::Deps { registry, store, keys, bus, log, redis: None };
        let service = sker_gateway::build(configs.gateway, deps, sockets.gateway).await?;
        self.run("gateway", |token| service.run(token));
        Ok(())
    }

    /// Runs a service until its own token is cancelled; notes when it ends before.
    fn run<Fut>(&mut self, service: &'static str, run: impl FnOnce(CancellationToken) -> Fut)
    where
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let token = CancellationToken::new();
        let failed = self.failed.clone();
        let (running, stopping) = (tokio::spawn(run(token.clone())), token.clone());
        let handle = tokio::spawn(async move {
            let reason = match running.await {
                Ok(Ok(())) if stopping.is_cancelled() => return,
                Ok(Ok(())) => "it ended".to_owned(),
                Ok(Err(error)) => format!("{error:#}"),
                Err(panic) => panic.to_string(),
            };
            tracing::error!(service, error = reason, "{service} ended: {reason}");
            failed.send_if_modified(|first| {
                let is_first = first.is_none();
                first.get_or_insert_with(|| format!("{service} ended: {reason}"));
                is_first
            });
        });
        self.running.push(Running { service, token, handle });
    }

    /// Waits until each service is ready and the gateway has learnt the way to them.
    async fn until_ready(&mut self) -> Result<(), Failure> {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(2)).no_proxy().build();
        let http = http.map_err(|error| anyhow::Error::new(error).context("cannot make an HTTP client"))?;
        let gateway = self.addresses.iter().find(|address| address.service == "gateway").map(|address| address.http);
        self.gateway_url = gateway.map(|address| format!("http://{address}")).unwrap_or_default();
        let waiting = async {
            for address in &self.addresses {
                let url = format!("http://{}/ready", address.http);
                until(&http, &url, |status| status.is_success()).await;
            }
            for path in ["/api/v1/auth/me", "/api/database/status", "/api/v1/registry/services"] {
                let url = format!("{}{path}", self.gateway_url);
                // Without a token: not signed in means that the way is known.
                until(&http, &url, |status| status == StatusCode::UNAUTHORIZED || status.is_success()).await;
            }
        };
        tokio::select! {
            outcome = tokio::time::timeout(GET_READY, waiting) => outcome.map_err(|_| {
                let message = format!("the platform is not ready after {} s", GET_READY.as_secs());
                Failure::new(Exit::Failure, message)
            }),
            reason = self.failed() => Err(Failure::new(Exit::Failure, reason)),
        }
    }
}

async fn until(http: &reqwest::Client, url: &str, reached: impl Fn(StatusCode) -> bool) {
    // Bounded by the caller.
    while !http.get(url).send().await.is_ok_and(|answer| reached(answer.status())) {
        tokio::time::sleep(ASK_EVERY).await;
    }
}

struct Parts {
    configs: super::prepare::Configs,
    boot: u32,
    sockets: Sockets,
}

/// All ports, bound before any service is built: when one is busy, nothing has begun.
struct Sockets {
    registry: Listeners,
    store: Listeners,
    database_service: Listeners,
    broker: Listeners,
    gateway: Listeners,
}

impl Sockets {
    fn bind(prepared: &Prepared) -> Result<Self, Failure> {
        let configs = &prepared.configs;
        Ok(Sockets {
            registry: listen("registry", &configs.registry.http, Some(&configs.registry.grpc))?,
            store: listen("store", &configs.store.http, Some(&configs.store.grpc))?,
            database_service: listen(
                "database-service",
                &configs.database_service.http,
                Some(&configs.database_service.grpc),
            )?,
            broker: listen("broker", &configs.broker.http, Some(&configs.broker.grpc))?,
            gateway: listen("gateway", &configs.gateway.http, None)?,
        })
    }

    fn addresses(&self) -> anyhow::Result<Vec<Address>> {
        let all = [
            ("gateway", &self.gateway),
            ("store", &self.store),
            ("broker", &self.broker),
            ("registry", &self.registry),
            ("database-service", &self.database_service),
        ];
        all.into_iter()
            .map(|(service, listeners)| {
                Ok(Address { service, http: listeners.http_address()?, grpc: listeners.grpc_address()? })
            })
            .collect()
    }
}

fn listen(service: &'static str, http: &HttpConfig, grpc: Option<&GrpcConfig>) -> Result<Listeners, Failure> {
    let socket = |kind: &str, host: &str, port: u16| {
        bind(host, port).map_err(|error| {
            let advice =
                format!("free the port, or choose another with --set {service}.{kind}.port=PORT (0 takes a free one)");
            Failure::new(Exit::Conflict, format!("{service} ({kind} port {port}): {error:#}\n{advice}"))
        })
    };
    let grpc = grpc.map(|grpc| socket("grpc", &grpc.host, grpc.port)).transpose()?;
    Ok(Listeners { http: socket("http", &http.host, http.port)?, grpc })
}
