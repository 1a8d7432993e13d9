use std::{net::SocketAddr, sync::Arc};

use actix_web::web::{Data, ServiceConfig};
use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};
use sker_api::{Registry, Store as StoreTrait, grpc::store_routes};
use sker_auth::TokenKeys;
use sker_bus::Bus;
use sker_cache::RealtimeLog;
use sker_client::Registrar;
use sker_db::Db;
use sker_error::Error;
use sker_outbox::{Outbox, Relay, RelayMetrics};
use sker_runtime::{
    Check, Health, Lifecycle, Listeners, Policy, Standard, TaskSet, advertised_host,
    http::{HttpOptions, serve},
    openapi_json, platform_instance, rpc,
};
use sker_telemetry::Metrics;
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi;

use crate::{
    Config, SERVICE, VERSION,
    app::{App, FirstAdmin},
    http::{ApiDoc, configure, routes},
    migration::Migrator,
    relay::QueueTasks,
    rpc::StoreApi,
    store::Store,
};

/// What the store is given by whoever runs it. Its database it opens itself, as configured.
#[derive(Clone)]
pub struct Deps {
    /// Where it registers.
    pub registry: Arc<dyn Registry>,
    /// What it signs and verifies tokens with.
    pub keys: Arc<TokenKeys>,
    /// Where events and wake-ups go.
    pub bus: Arc<dyn Bus>,
    /// Where realtime channels are kept.
    pub log: Arc<dyn RealtimeLog>,
}

/// The store, built and ready to run.
pub struct Service {
    lifecycle: Lifecycle,
    api: Arc<dyn StoreTrait>,
    health: Arc<Health>,
    address: SocketAddr,
    first_admin: Option<FirstAdmin>,
}

/// Opens and migrates the database, makes the first administrator, and puts the service together. Nothing is served before
/// [`Service::run`].
pub async fn build(config: Config, deps: Deps, listeners: Listeners) -> anyhow::Result<Service> {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let db = Db::connect(&config.database).await.context("cannot open the store's database")?;
    db.migrate::<Migrator>().await.context("cannot migrate the store's database")?;
    let outbox = Outbox::new();
    let secret = config.jwt_secret.expose_secret().as_bytes();
    let store = Store::new(db.clone(), outbox.clone());
    let app = Arc::new(App::new(store, deps.keys.clone(), secret, config.settings.clone())?);
    let admin = &config.admin;
    let first_admin = app.ensure_admin(&admin.email, admin.password.as_ref(), admin.password_file.as_deref());
    let first_admin = first_admin.await.context("cannot make the first administrator")?;

    let (health, tasks, metrics) = (Health::new(SERVICE, VERSION), TaskSet::new(), Metrics::new(SERVICE));
    db.register_metrics(metrics.registry())?;
    let relay = Relay {
        db: db.clone(),
        outbox,
        bus: deps.bus.clone(),
        log: deps.log,
        hook: Arc::new(QueueTasks),
        metrics: RelayMetrics::new(metrics.registry())?,
        source: SERVICE.to_owned(),
    };
    spawn_tasks(&tasks, relay, &app);
    watch(&health, &tasks, &db, deps.bus);

    let api: Arc<dyn StoreTrait> = Arc::new(StoreApi::new(app.clone()));
    let address = listeners.http_address()?;
    let host = config.advertise_host.clone().unwrap_or_else(|| advertised_host(address));
    let instance = platform_instance(SERVICE, &host, address.port(), VERSION, &routes());
    let standard = Standard {
        service: SERVICE,
        version: VERSION,
        health: health.clone(),
        metrics,
        openapi: openapi_json(&ApiDoc::openapi()),
    };
    let options = HttpOptions::new(&config.http, &config.shutdown);
    let (data, proxies, http_keys) = (Data::from(app), config.trusted_proxies, deps.keys.clone());
    let mut lifecycle = Lifecycle::new(SERVICE, health.clone(), tasks, config.shutdown.clone())
        .server("http", move |stop| {
            let limits = options.clone();
            let configure = move |service: &mut ServiceConfig| configure(service, &data, proxies, &limits);
            serve(listeners.http, options, standard, http_keys, configure, stop)
        })
        .registered_by(Registrar::new(deps.registry, SERVICE, instance))
        .on_close("database", move || async move {
            db.close().await;
            Ok(())
        });
    if let Some(listener) = listeners.grpc {
        let (routes, health) = (store_routes(api.clone(), deps.keys), health.clone());
        lifecycle = lifecycle.server("grpc", move |stop| rpc::serve(listener, routes, health, stop));
    }
    Ok(Service { lifecycle, api, health, address, first_admin })
}

impl Service {
    /// The store as other services of this process call it.
    pub fn api(&self) -> Arc<dyn StoreTrait> {
        self.api.clone()
    }

    /// Its health.
    pub fn health(&self) -> Arc<Health> {
        self.health.clone()
    }

    /// Where HTTP is heard.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The first administrator's email and password, when the password was made up just now; to be shown once.
    pub fn first_admin_password(&self) -> Option<(&str, &SecretString)> {
        self.first_admin.as_ref().map(|admin| (admin.email.as_str(), &admin.password))
    }

    /// Serves until `shutdown` is cancelled, then stops in order.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        self.lifecycle.run(shutdown).await
    }
}

fn spawn_tasks(tasks: &TaskSet, relay: Relay, app: &Arc<App>) {
    let relay = Arc::new(relay);
    tasks.spawn("outbox-relay", Policy::Restart, move |stop| {
        let relay = relay.clone();
        async move { relay.run(stop).await }
    });
    let app = app.clone();
    tasks.spawn("task-reconciler", Policy::Restart, move |stop| {
        let app = app.clone();
        async move {
            // What the bus had at the last stop may be lost.
            let woken = app.wake_all().await?;
            tracing::info!(tasks.woken = woken, "unfinished tasks were woken");
            app.run_reconciler(stop).await;
            Ok::<(), Error>(())
        }
    });
}

fn watch(health: &Arc<Health>, tasks: &TaskSet, db: &Db, bus: Arc<dyn Bus>) {
    let db = db.clone();
    health.register(
        tasks,
        Check::required("database", move || {
            let db = db.clone();
            async move { db.ping().await }
        }),
    );
    // Without the bus changes are stored all the same and relayed later.
    health.register(
        tasks,
        Check::optional("bus", move || {
            let healthy = bus.is_healthy();
            async move { if healthy { Ok(()) } else { Err(Error::unavailable("the bus is away")) } }
        }),
    );
}
