//! Watches databases and tells how they are.
//!
//! Each target is checked by a task of its own ([`app::Checker`]): read-only, on one connection that is kept between checks,
//! with a hard deadline.
//! What the checks find is kept in memory, where every answer comes from, and written to the service's own database, so that
//! history, streaks and uptime survive a restart. A database that does not answer slows nothing down but its own check.

pub mod app;
mod config;
mod drivers;
mod http;
mod migration;
mod store;
mod watch;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use serde_json::{Map, Value};
use sker_api::Registry;
use sker_auth::TokenKeys;
use sker_client::Registrar;
use sker_db::Db;
use sker_error::Error;
use sker_runtime::{
    Check, Health, Lifecycle, Listeners, Standard, TaskSet, advertised_host,
    http::{HttpOptions, serve},
    openapi_json, platform_instance, rpc,
};
use sker_telemetry::Metrics;
use tokio_util::sync::CancellationToken;

pub use config::{Config, RegistrationConfig, layers};
pub use migration::Migrator;

use crate::{
    app::{Monitor, RegistrationView, ServiceAddress, routes},
    http::State,
    store::DbJournal,
};

/// The service's name.
pub const SERVICE: &str = "database-service";
/// The service's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How long its own database may take to answer at the start.
const DATABASE_PATIENCE: Duration = Duration::from_secs(30);

/// What the service is given by whoever runs it.
#[derive(Clone)]
pub struct Deps {
    /// Where it registers.
    pub registry: Arc<dyn Registry>,
    /// What it verifies tokens with.
    pub keys: Arc<TokenKeys>,
}

/// A service that is ready to run.
pub struct Service {
    lifecycle: Lifecycle,
    address: SocketAddr,
}

/// Puts the service together: opens its own database and calls nobody else.
pub async fn build(config: Config, deps: Deps, listeners: Listeners) -> anyhow::Result<Service> {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let opened = Db::connect_within(&config.database.clone().of_service(SERVICE), DATABASE_PATIENCE).await;
    let db = opened.context("database-service cannot open its own database")?;
    db.migrate::<Migrator>().await.context("database-service cannot migrate its own database")?;
    let metrics = Metrics::new(SERVICE);
    db.register_metrics(metrics.registry())?;
    let (health, tasks) = (Health::new(SERVICE, VERSION), TaskSet::new());

    let journal = Arc::new(DbJournal::new(db.clone()));
    let drivers = drivers::all();
    let checkers = watch::checkers(&config, &drivers, &*journal).await?;
    for checker in &checkers {
        watch::spawn(&tasks, Arc::clone(checker), Arc::clone(&journal), &metrics);
    }
    let monitor = Arc::new(Monitor::new(checkers, drivers, config.checks.deadline));

    let address = listeners.http_address()?;
    let registration = registration_of(&config, address, &monitor);
    let registrar = Registrar::new(Arc::clone(&deps.registry), SERVICE, registration.1);
    register_checks(&health, &tasks, &db, &registrar);

    let standard = Standard {
        service: SERVICE,
        version: VERSION,
        health: Arc::clone(&health),
        metrics,
        openapi: openapi_json(&http::openapi()),
    };
    let state = State { monitor, registrar: registrar.clone(), address: registration.0, config: config.view() };
    let options = HttpOptions::new(&config.http, &config.shutdown);
    let mut lifecycle = Lifecycle::new(SERVICE, Arc::clone(&health), tasks, config.shutdown)
        .server("http", move |stop| serve(listeners.http, options, standard, deps.keys, http::configure(state), stop))
        .registered_by(registrar)
        .on_close("database", move || async move {
            db.close().await;
            Ok(())
        });
    if let Some(listener) = listeners.grpc {
        // No other service calls this one; the port has health and reflection.
        lifecycle = lifecycle.server("grpc", move |stop| rpc::serve(listener, Default::default(), health, stop));
    }
    Ok(Service { lifecycle, address })
}

impl Service {
    /// Where it serves HTTP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Runs until `shutdown` is cancelled.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        self.lifecycle.run(shutdown).await
    }
}

fn registration_of(
    config: &Config,
    listener: SocketAddr,
    monitor: &Monitor,
) -> (ServiceAddress, sker_api::proto::registry::Instance) {
    let host = config.registration.advertise_host.clone().unwrap_or_else(|| advertised_host(listener));
    let address = ServiceAddress { host, port: listener.port(), version: VERSION };
    let mut instance = platform_instance(SERVICE, &address.host, address.port, VERSION, &routes());
    // It was made from an object just now.
    let mut metadata: Map<String, Value> = serde_json::from_str(&instance.metadata_json).unwrap_or_default();
    metadata.extend(RegistrationView::own_metadata(&monitor.supported()));
    instance.metadata_json = Value::Object(metadata).to_string();
    (address, instance)
}

/// It can watch databases without both: then history is lost at a restart, and nobody is sent here.
fn register_checks(health: &Arc<Health>, tasks: &TaskSet, db: &Db, registrar: &Registrar) {
    let db = db.clone();
    let history = Check::optional("history", move || {
        let db = db.clone();
        async move { db.ping().await }
    });
    let registrar = registrar.clone();
    let registry = Check::optional("registry", move || {
        let state = registrar.state();
        // Before the first attempt there is nothing wrong yet.
        let refused = if state.registered { None } else { state.last_error.clone() };
        async move { refused.map_or(Ok(()), |reason| Err(Error::unavailable("not registered").with_cause(reason))) }
    });
    health.register(tasks, history);
    health.register(tasks, registry);
}
