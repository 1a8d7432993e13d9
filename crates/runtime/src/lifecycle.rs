use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use sker_client::Registrar;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::{Health, Policy, ShutdownConfig, TaskSet};

/// How long the registry may take to answer a service that leaves, and how long each resource may take to close.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// What a server's own limit is allowed to be late.
const SLACK: Duration = Duration::from_secs(1);

type Serve = Box<dyn FnOnce(CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> + Send>;
type Close = Box<dyn FnOnce() -> BoxFuture<'static, anyhow::Result<()>> + Send>;

type Servers = JoinSet<(&'static str, anyhow::Result<()>)>;

/// The service's place in the registry.
#[derive(Clone)]
struct Membership {
    registrar: Registrar,
    /// Tells the registrar to deregister.
    leave: CancellationToken,
    /// Cancelled when it has.
    left: CancellationToken,
}

/// Runs a service and stops it in order: `/ready` says 503, the registration is taken back, no new requests are taken, those
/// in flight are finished, background tasks end, resources are closed.
///
/// Every part is optional, and a server is any future that ends soon after its token is cancelled:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> anyhow::Result<()> {
/// use sker_runtime::{Health, Lifecycle, ShutdownConfig, TaskSet};
/// use tokio_util::sync::CancellationToken;
///
/// let (health, tasks) = (Health::new("demo", "1.0.0"), TaskSet::new());
/// let lifecycle = Lifecycle::new("demo", health, tasks, ShutdownConfig::default())
///     .server("echo", |stop| async move { stop.cancelled().await; Ok(()) })
///     .on_close("database", || async { Ok(()) });
/// let shutdown = CancellationToken::new();
/// shutdown.cancel();
/// lifecycle.run(shutdown).await
/// # }
/// ```
pub struct Lifecycle {
    service: &'static str,
    health: Arc<Health>,
    tasks: TaskSet,
    shutdown: ShutdownConfig,
    registrar: Option<Registrar>,
    servers: Vec<(&'static str, Serve)>,
    resources: Vec<(&'static str, Close)>,
}

impl Lifecycle {
    /// A service that has nothing to serve yet.
    pub fn new(service: &'static str, health: Arc<Health>, tasks: TaskSet, shutdown: ShutdownConfig) -> Self {
        Lifecycle { service, health, tasks, shutdown, registrar: None, servers: Vec::new(), resources: Vec::new() }
    }

    /// Adds a server. When it ends before its token is cancelled, the service stops.
    pub fn server<F, Fut>(mut self, name: &'static str, serve: F) -> Self
    where
        F: FnOnce(CancellationToken) -> Fut + Send + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.servers.push((name, Box::new(move |stop| Box::pin(serve(stop)))));
        self
    }

    /// Keeps the service registered from when it is ready until it stops.
    pub fn registered_by(mut self, registrar: Registrar) -> Self {
        self.registrar = Some(registrar);
        self
    }

    /// Closes a resource in the end. The first to be added is closed first.
    pub fn on_close<F, Fut>(mut self, name: &'static str, close: F) -> Self
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.resources.push((name, Box::new(move || Box::pin(close()))));
        self
    }

    /// Runs until `shutdown` is cancelled, a server ends, or a task fails that the service cannot go on without; then stops.
    /// An error is why it stopped when nobody asked it to.
    pub async fn run(mut self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let stop = CancellationToken::new();
        let mut servers = JoinSet::new();
        for (name, serve) in self.servers.drain(..) {
            let served = serve(stop.child_token()).instrument(tracing::info_span!("server", server.name = name));
            servers.spawn(async move { (name, served.await) });
        }
        let membership = self.registrar.take().map(|registrar| self.register(registrar));
        self.health.set_started();
        tracing::info!(service = self.service, "{} has started", self.service);
        let outcome = tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            reason = self.tasks.failed() => Err(anyhow::anyhow!(reason)),
            Some(ended) = servers.join_next() => Err(early_end(ended)),
        };
        if let Err(reason) = &outcome {
            tracing::error!(service = self.service, error = format!("{reason:#}"), "{} cannot go on", self.service);
        }
        self.stop(stop, servers, membership).await;
        outcome
    }

    /// Keeps the service registered in a task of its own, until it is told to leave.
    fn register(&self, registrar: Registrar) -> Membership {
        let membership = Membership { registrar, leave: CancellationToken::new(), left: CancellationToken::new() };
        let (health, member) = (Arc::clone(&self.health), membership.clone());
        self.tasks.spawn("registrar", Policy::Restart, move |_| {
            let (health, member) = (Arc::clone(&health), member.clone());
            async move {
                // Nobody should be sent here before there is something to be had.
                if member.leave.run_until_cancelled(health.until_ready()).await.is_some() {
                    member.registrar.run(member.leave.clone()).await;
                }
                member.left.cancel();
            }
        });
        membership
    }

    async fn stop(self, stop: CancellationToken, servers: Servers, membership: Option<Membership>) {
        let began = Instant::now();
        self.health.set_draining();
        if let Some(member) = membership {
            let known = member.registrar.state().registered;
            member.leave.cancel();
            if tokio::time::timeout(CLOSE_LIMIT, member.left.cancelled()).await.is_err() {
                tracing::warn!("not deregistered in time; the lease will run out");
            }
            if known {
                tokio::time::sleep(self.shutdown.settle()).await;
            }
        }
        stop.cancel();
        finish(servers, self.shutdown.drain() + SLACK).await;
        let left = self.shutdown.drain().saturating_sub(began.elapsed()).max(SLACK);
        self.tasks.drain(left).await;
        for (name, close) in self.resources {
            match tokio::time::timeout(CLOSE_LIMIT, close()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(error = format!("{error:#}"), "{name} did not close cleanly"),
                Err(_) => tracing::warn!("{name} did not close in time"),
            }
        }
        tracing::info!(service = self.service, "{} has stopped", self.service);
    }
}

/// Waits for the servers to finish what is in flight, at most `limit`.
async fn finish(mut servers: Servers, limit: Duration) {
    let all = async {
        while let Some(ended) = servers.join_next().await {
            match ended {
                Ok((_, Ok(()))) => {}
                Ok((name, Err(error))) => {
                    tracing::warn!(error = format!("{error:#}"), "the {name} server failed while it was stopping");
                }
                Err(error) => tracing::error!(error = %error, "a server panicked while it was stopping"),
            }
        }
    };
    if tokio::time::timeout(limit, all).await.is_err() {
        tracing::warn!("requests in flight did not end in time and were dropped");
        servers.shutdown().await;
    }
}

fn early_end(ended: Result<(&'static str, anyhow::Result<()>), tokio::task::JoinError>) -> anyhow::Error {
    match ended {
        Ok((name, Ok(()))) => anyhow::anyhow!("the {name} server ended by itself"),
        Ok((name, Err(error))) => error.context(format!("the {name} server")),
        Err(error) => anyhow::Error::new(error).context("a server panicked"),
    }
}
