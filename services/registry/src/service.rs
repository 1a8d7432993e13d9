use std::{sync::Arc, time::Duration};

use actix_web::web::Data;
use anyhow::Context;
use serde_json::{Value, json};
use sker_api::{Registry, grpc::registry_routes};
use sker_auth::TokenKeys;
use sker_client::Registrar;
use sker_db::Db;
use sker_runtime::{
    Check, Health, Lifecycle, Listeners, Policy, Standard, TaskSet, advertised_host,
    http::{HttpOptions, serve},
    openapi_json, platform_instance, rpc,
};
use sker_telemetry::Metrics;
use sker_traffic::Backoff;
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi;

use crate::{
    Config, SERVICE, VERSION,
    app::{Directory, SystemClock, engine::Engine},
    http::{ApiDoc, configure},
    metrics,
    migration::Migrator,
    rpc::RegistryApi,
    store::{WriteBehind, load},
};

/// How long a start waits for the database.
const DATABASE_WAIT: Duration = Duration::from_secs(30);

/// What the registry needs of others.
#[derive(Clone, Debug)]
pub struct Deps {
    /// Its own database.
    pub db: Db,
}

impl Deps {
    /// Opens what the configuration names; waits for a database that does not answer yet.
    pub async fn connect(config: &Config) -> anyhow::Result<Self> {
        let opened = Db::connect_within(&config.database, DATABASE_WAIT).await;
        let db = opened.context("cannot open the registry's database")?;
        Ok(Deps { db })
    }
}

/// The registry, built and ready to run.
pub struct Service {
    lifecycle: Lifecycle,
    api: Arc<dyn Registry>,
    health: Arc<Health>,
}

/// Reads what is stored and puts the service together. Nothing is served before [`Service::run`].
pub async fn build(config: Config, deps: Deps, listeners: Listeners) -> anyhow::Result<Service> {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let Deps { db } = deps;
    db.migrate::<Migrator>().await.context("cannot migrate the registry's database")?;
    let stored = load(&db).await.context("cannot read what is registered")?;
    let keys = Arc::new(TokenKeys::hs256(&config.jwt_secret)?);
    let (health, tasks, metrics) = (Health::new(SERVICE, VERSION), TaskSet::new(), Metrics::new(SERVICE));

    let storage = Arc::new(WriteBehind::new(db.clone(), config.events));
    let engine = Engine::new(
        Arc::new(SystemClock::new()),
        config.expiry.clone(),
        config.ring_capacity,
        storage.clone(),
        stored,
        health.draining(),
    );
    storage.begin_at(engine.boot());
    metrics::register(&metrics, &engine, &storage)?;
    db.register_metrics(metrics.registry())?;
    spawn_tasks(&tasks, &config, &engine, &storage);
    let probe = db.clone();
    // Lookups and heartbeats do without the database, so it is not required.
    health.register(&tasks, Check::optional("database", move || ping(probe.clone())));

    let directory = Data::new(Directory::new(engine, storage, config.access, config.lease_defaults, config.durability));
    let api: Arc<dyn Registry> = Arc::new(RegistryApi::new(directory.clone().into_inner()));
    let registrar = Registrar::new(api.clone(), SERVICE, own_instance(&config, &listeners)?);
    let standard = Standard {
        service: SERVICE,
        version: VERSION,
        health: health.clone(),
        metrics: metrics.clone(),
        openapi: openapi_json(&ApiDoc::openapi()),
    };
    let options = HttpOptions::new(&config.http, &config.shutdown);
    let http_keys = keys.clone();
    let mut lifecycle = Lifecycle::new(SERVICE, health.clone(), tasks, config.shutdown.clone())
        .server("http", move |stop| {
            let configure = move |service: &mut actix_web::web::ServiceConfig| configure(service, &directory);
            serve(listeners.http, options, standard, http_keys, configure, stop)
        })
        .registered_by(registrar)
        .on_close("database", move || async move {
            db.close().await;
            Ok(())
        });
    if let Some(listener) = listeners.grpc {
        let (routes, health) = (registry_routes(api.clone(), keys, &metrics), health.clone());
        lifecycle = lifecycle.server("grpc", move |stop| rpc::serve(listener, routes, health, stop));
    }
    Ok(Service { lifecycle, api, health })
}

impl Service {
    /// The registry as other services of this process call it.
    pub fn api(&self) -> Arc<dyn Registry> {
        self.api.clone()
    }

    /// Its health.
    pub fn health(&self) -> Arc<Health> {
        self.health.clone()
    }

    /// Serves until `shutdown` is cancelled, then stops in order.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        self.lifecycle.run(shutdown).await
    }
}

fn spawn_tasks(tasks: &TaskSet, config: &Config, engine: &Arc<Engine>, storage: &Arc<WriteBehind>) {
    let writer = storage.clone();
    tasks.spawn("write-behind", Policy::StopService, move |stop| {
        let writer = writer.clone();
        async move { writer.run(stop).await }
    });
    let pruner = storage.clone();
    tasks.spawn("event-retention", Policy::Restart, move |stop| {
        let pruner = pruner.clone();
        async move { pruner.prune(stop).await }
    });
    let (engine, interval) = (engine.clone(), config.expiry.scan_interval);
    tasks.spawn("lease-expiry", Policy::Restart, move |stop| {
        let engine = engine.clone();
        // Jitter keeps the scans of several registries apart.
        let pause = Backoff { jitter: 0.1, ..Backoff::new(interval, interval) };
        async move {
            while stop.run_until_cancelled(tokio::time::sleep(pause.delay(0))).await.is_some() {
                engine.scan();
            }
        }
    });
}

async fn ping(db: Db) -> sker_error::Result<()> {
    db.ping().await
}

/// The registry registers with itself, so that the gateway finds it like any other.
fn own_instance(config: &Config, listeners: &Listeners) -> anyhow::Result<sker_proto::registry::Instance> {
    let address = listeners.http_address()?;
    let host = config.advertise_host.clone().unwrap_or_else(|| advertised_host(address));
    Ok(platform_instance(SERVICE, &host, address.port(), VERSION, &routes()))
}

/// `GET /api/v1/registry/X` of the gateway is `GET /api/v1/X` here. Blocking reads need more time than usual.
fn routes() -> [Value; 1] {
    [json!({
        "path": "/api/v1/registry/*",
        "methods": ["GET"],
        "strip_prefix": "/api/v1/registry",
        "rewrite_prefix": "/api/v1",
        "auth": "user",
        "timeout_ms": 660_000,
    })]
}
