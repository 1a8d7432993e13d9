use std::{net::SocketAddr, sync::Arc, time::Duration};

use actix_web::web::{Data, ServiceConfig};
use anyhow::Context;
use sea_orm::DbBackend;
use secrecy::{ExposeSecret, SecretString};
use sker_api::{Store as StoreTrait, grpc::store_routes};
use sker_bus::Bus;
use sker_cache::Cache;
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
    Config, Deps, SERVICE, VERSION,
    app::{App, FirstAdmin},
    http::{ApiDoc, configure, routes},
    migration::Migrator,
    relay::QueueTasks,
    rpc::StoreApi,
    store::Store,
};

/// How long the service waits for its database when it starts.
const DATABASE_PATIENCE: Duration = Duration::from_secs(30);

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
    let database = config.database.clone().of_service(SERVICE);
    let db = Db::connect_within(&database, DATABASE_PATIENCE).await.context("cannot open the store's database")?;
    db.migrate::<Migrator>().await.context("cannot migrate the store's database")?;
    let outbox = Outbox::new();
    let secret = config.jwt_secret.expose_secret().as_bytes();
    let store = Store::new(db.clone(), outbox.clone());
    let app = Arc::new(App::new(store, deps.keys.clone(), secret, deps.cache.clone(), config.settings.clone())?);
    let admin = &config.admin;
    let first_admin = app.ensure_admin(&admin.email, admin.password.as_ref(), admin.password_file.as_deref());
    let first_admin = first_admin.await.context("cannot make the first administrator")?;

    let (health, tasks, metrics) = (Health::new(SERVICE, VERSION), TaskSet::new(), Metrics::new(SERVICE));
    db.register_metrics(metrics.registry())?;
    let relay = Relay {
        db: db.clone(),
        outbox: outbox.clone(),
        bus: deps.bus.clone(),
        log: deps.log,
        hook: Arc::new(QueueTasks),
        metrics: RelayMetrics::new(metrics.registry())?,
        source: SERVICE.to_owned(),
    };
    // One process has a SQLite file; on PostgreSQL there may be replicas.
    let replicated = (db.backend() == DbBackend::Postgres).then_some(database.url);
    if replicated.is_some() {
        forward(&tasks, &db, outbox);
    }
    lead(&tasks, relay, &app, replicated);
    watch(&health, &tasks, &db, deps.bus, deps.cache);

    let api: Arc<dyn StoreTrait> = Arc::new(StoreApi::new(app.clone()));
    let address = listeners.http_address()?;
    let host = config.advertise_host.clone().unwrap_or_else(|| advertised_host(address));
    let instance = platform_instance(SERVICE, &host, address.port(), VERSION, &routes());
    let standard = Standard {
        service: SERVICE,
        version: VERSION,
        health: health.clone(),
        metrics: metrics.clone(),
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
        let (routes, health) = (store_routes(api.clone(), deps.keys, &metrics), health.clone());
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

/// Relays and reconciles, on one replica at a time.
fn lead(tasks: &TaskSet, relay: Relay, app: &Arc<App>, replicated: Option<String>) {
    let (relay, app, replicated) = (Arc::new(relay), app.clone(), Arc::new(replicated));
    tasks.spawn("leader", Policy::Restart, move |stop| {
        let (relay, app, replicated) = (relay.clone(), app.clone(), replicated.clone());
        async move {
            let work = |stop: CancellationToken| {
                let (relay, app, replicated) = (relay.clone(), app.clone(), replicated.clone());
                async move {
                    let listen = async {
                        if let Some(url) = replicated.as_deref() {
                            relay.outbox.listen(url, stop.clone()).await;
                        }
                    };
                    tokio::join!(relay.run(stop.clone()), app.run_reconciler(stop.clone()), listen);
                }
            };
            relay.db.lead(SERVICE, stop, work).await;
        }
    });
}

/// Tells the leader what is committed while this replica does not lead.
fn forward(tasks: &TaskSet, db: &Db, outbox: Outbox) {
    let db = db.clone();
    tasks.spawn("outbox-forward", Policy::Restart, move |stop| {
        let (db, outbox) = (db.clone(), outbox.clone());
        async move { outbox.forward(&db, stop).await }
    });
}

fn watch(health: &Arc<Health>, tasks: &TaskSet, db: &Db, bus: Arc<dyn Bus>, cache: Arc<dyn Cache>) {
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
    // Without the cache realtime events wait, and each replica throttles sign-ins for itself.
    health.register(
        tasks,
        Check::optional("cache", move || {
            let cache = cache.clone();
            async move { cache.get("store:health").await.map(drop) }
        }),
    );
}
