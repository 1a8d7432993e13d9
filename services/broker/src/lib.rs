//! Task broker: claims, runs and completes AI tasks on its engines.
//!
//! Messages on the work queues wake it. It claims the tasks that they name from the store under a lease ([`app::Broker`]),
//! acknowledges the messages, runs the tasks on an [`engines::Engine`], streams their text to the realtime log, and gives the
//! store the result. With free slots and no message it asks the store for work by itself. A crash at any point loses nothing:
//! a message that was not acknowledged comes again, the claim runs out, or the next run of the broker gives it back, and what
//! an old claim still tries to do is refused by its lease epoch.

pub mod app;
mod config;
mod deps;
pub mod engines;
mod http;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use serde_json::{Value, json};
use sker_client::Registrar;
use sker_error::Error;
use sker_runtime::{
    Check, Health, Lifecycle, Listeners, Policy, Standard, TaskSet, advertised_host,
    http::{HttpOptions, serve},
    openapi_json, platform_instance, rpc,
};
use sker_telemetry::Metrics;
use tokio_util::sync::CancellationToken;

pub use config::{Config, EnginesConfig, Outside, WorkerConfig, layers};
pub use deps::Deps;

use crate::{
    app::{Broker, BrokerMetrics, Overview, Session, WorkerOptions},
    engines::{EngineSet, local::LocalEngine, openai::OpenAiEngine},
};

/// The service's name.
pub const SERVICE: &str = "broker";
/// The service's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A service that is ready to run.
pub struct Service {
    lifecycle: Lifecycle,
    address: SocketAddr,
}

/// Puts the service together; calls nobody.
pub async fn build(config: Config, deps: Deps, listeners: Listeners) -> anyhow::Result<Service> {
    let engines = engines(&config.engines)?;
    build_with(config, engines, deps, listeners).await
}

/// [`build`] with other engines than the configured ones.
pub async fn build_with(
    config: Config,
    engines: EngineSet,
    deps: Deps,
    listeners: Listeners,
) -> anyhow::Result<Service> {
    let metrics = Metrics::new(SERVICE);
    let (health, tasks) = (Health::new(SERVICE, VERSION), TaskSet::new());
    let session = Arc::new(Session::begin(&config.data_dir)?);
    // Within the service's own limit what is not finished is given back too.
    let shutdown = config.shutdown.drain();
    let farewell = shutdown.mul_f32(0.2).max(Duration::from_secs(2)).min(shutdown);
    let options = WorkerOptions {
        slots: config.worker.slots,
        lease: config.worker.lease,
        steal: config.worker.steal,
        task_timeout: config.worker.task_timeout,
        drain: shutdown - farewell,
        farewell,
    };
    let connections = (Arc::clone(&deps.store), Arc::clone(&deps.bus), Arc::clone(&deps.log));
    let broker =
        Arc::new(Broker::new(options, Arc::clone(&session), engines, connections, BrokerMetrics::new(&metrics)));
    spawn_background(&tasks, &broker, &session, &deps, config.engines.warm_up);
    register_checks(&health, &tasks, &broker, &deps);

    let address = listeners.http_address()?;
    let host = config.advertise_host.clone().unwrap_or_else(|| advertised_host(address));
    let instance = platform_instance(SERVICE, &host, address.port(), VERSION, &routes());
    let registrar = Registrar::new(Arc::clone(&deps.registry), SERVICE, instance);

    let standard = Standard {
        service: SERVICE,
        version: VERSION,
        health: Arc::clone(&health),
        metrics,
        openapi: openapi_json(&http::openapi()),
    };
    let http_options = HttpOptions::new(&config.http, &config.shutdown);
    let handlers = http::configure(Overview::new(Arc::clone(&broker)));
    let mut lifecycle = Lifecycle::new(SERVICE, Arc::clone(&health), tasks, config.shutdown)
        .server("http", move |stop| serve(listeners.http, http_options, standard, deps.keys, handlers, stop))
        // A server to the lifecycle: it stops taking work and finishes what is in flight while leases are still renewed.
        .server("worker", move |stop| async move {
            broker.work(stop).await;
            Ok(())
        })
        .registered_by(registrar);
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

/// The configured engines.
fn engines(config: &EnginesConfig) -> anyhow::Result<EngineSet> {
    let local = Arc::new(LocalEngine::new(config.local_threads));
    Ok(match &config.openai {
        None => EngineSet::new(local),
        Some(options) => {
            let openai = Arc::new(OpenAiEngine::new(options.clone())?);
            if config.openai_is_default {
                EngineSet::new(openai).with(local)
            } else {
                EngineSet::new(local).with(openai)
            }
        }
    })
}

fn spawn_background(tasks: &TaskSet, broker: &Arc<Broker>, session: &Arc<Session>, deps: &Deps, warm_up: bool) {
    let keeper = Arc::clone(broker);
    tasks.spawn("lease-keeper", Policy::Restart, move |stop| app::keep_leases(Arc::clone(&keeper), stop));
    let (bus, running) = (Arc::clone(&deps.bus), Arc::clone(broker.running()));
    tasks.spawn("cancellations", Policy::Restart, move |stop| {
        app::listen_for_cancellations(Arc::clone(&bus), Arc::clone(&running), stop)
    });
    let (store, session) = (Arc::clone(&deps.store), Arc::clone(session));
    tasks.spawn("release-previous", Policy::Restart, move |stop| {
        app::release_previous(Arc::clone(&store), Arc::clone(&session), stop)
    });
    if warm_up {
        tasks.spawn("warm-up", Policy::Once, |_| async { tokio::task::spawn_blocking(engines::text::warm_up).await });
    }
}

/// The gateway sends administrators here.
fn routes() -> Vec<Value> {
    vec![json!({
        "path": "/api/v1/broker/*",
        "methods": ["GET"],
        "load_balancer": "round_robin",
        "auth": "admin",
    })]
}

/// Without the store nothing can be claimed. Without the bus it finds work by asking the store, and without the log nobody sees
/// text as it is made: slower, and said so.
fn register_checks(health: &Arc<Health>, tasks: &TaskSet, broker: &Arc<Broker>, deps: &Deps) {
    let worker = Arc::clone(broker);
    let store = Check::required("store", move || {
        // Waits until its deadline rather than fail at once, so that the broker is ready as soon as it can be.
        let worker = Arc::clone(&worker);
        async move {
            worker.until_store_answers().await;
            Ok(())
        }
    });
    let bus = Arc::clone(&deps.bus);
    let bus = Check::optional("bus", move || {
        let trouble = bus.trouble();
        async move { trouble.map_or(Ok(()), |why| Err(Error::unavailable(why))) }
    });
    for check in [store.within(Duration::from_secs(1)), bus] {
        health.register(tasks, check.every(Duration::from_secs(1)));
    }
    if let Some(redis) = deps.redis.clone() {
        let log = Check::optional("realtime-log", move || {
            let redis = redis.clone();
            async move { redis.ping().await }
        });
        health.register(tasks, log.every(Duration::from_secs(5)));
    }
}
