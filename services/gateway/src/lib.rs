//! The platform's one address.
//!
//! Requests go to whichever service registered the route, streamed in both directions; callers are checked first, against what
//! the route asks for. Realtime ends here: sockets (`/ws`) and event streams (`/api/v1/events`) hear what happens on the bus and
//! resume from the log.
//!
//! - [`app`]: what is decided, without I/O: paths, routes, headers, frames
//! - [`routes`]: where routes come from
//! - [`upstream`]: connections to services and what is sent over them
//! - [`http`]: threads that serve clients, and the gateway's own endpoints
//! - [`realtime`]: the hub, sockets, event streams

pub mod app;
pub mod config;
mod connected;
mod deps;
pub mod gateway;
pub mod http;
pub mod realtime;
pub mod routes;
pub mod upstream;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use sker_api::Registry;
use sker_bus::Bus;
use sker_cache::{RealtimeLog, Redis};
use sker_client::Registrar;
use sker_error::Error;
use sker_runtime::{
    Check, Health, Lifecycle, Listeners, MainRuntime, Policy, Standard, TaskSet, advertised_host, platform_instance,
    program::ServiceConfig,
};
use sker_telemetry::Metrics;
use tokio_util::sync::CancellationToken;

pub use config::Config;
pub use connected::Connected;
pub use deps::Deps;
use gateway::Gateway;
use realtime::{Hub, LogReader};

const SERVICE: &str = Config::SERVICE;
const VERSION: &str = Config::VERSION;

/// A gateway that is about to run.
pub struct Service {
    gateway: Arc<Gateway>,
    lifecycle: Lifecycle,
    address: SocketAddr,
}

/// Puts a gateway together. Calls no dependency.
pub async fn build(config: Config, deps: Deps, listeners: Listeners) -> anyhow::Result<Service> {
    let address = listeners.http_address()?;
    let Deps { registry, store, bus, log, redis, keys } = deps;
    let (health, tasks, metrics) = (Health::new(SERVICE, VERSION), TaskSet::new(), Metrics::new(SERVICE));
    let hub = Hub::new(config.realtime.queue, &metrics);
    let document = http::own_openapi(VERSION).to_string();
    let standard = Standard {
        service: SERVICE,
        version: VERSION,
        health: Arc::clone(&health),
        metrics,
        openapi: document.as_str().into(),
    };
    let host = match config.advertise_host.as_str() {
        "" => advertised_host(address),
        host => host.to_owned(),
    };
    let shutdown = config.shutdown.clone();
    let main = MainRuntime::current();
    let reader = LogReader::new(Arc::clone(&log), main.clone());
    let gateway = Gateway::new(config, keys, store, reader, hub, standard, main, document.into());

    let heard = Heard::default();
    watch_health(&health, &tasks, &gateway, &heard, &bus, redis);
    start_tasks(&tasks, &gateway, &registry, log, &heard, &bus);
    let instance = platform_instance(SERVICE, &host, address.port(), VERSION, &[]);
    let server = Arc::clone(&gateway);
    let lifecycle = Lifecycle::new(SERVICE, health, tasks, shutdown)
        .registered_by(Registrar::new(registry, SERVICE, instance))
        .server("http", move |stop| http::serve(server, listeners.http, stop));
    Ok(Service { gateway, lifecycle, address })
}

impl Service {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What its threads share; for those who embed it.
    pub fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// Its health.
    pub fn health(&self) -> Arc<Health> {
        Arc::clone(&self.gateway.standard.health)
    }

    /// Runs until `shutdown` is cancelled, then stops in order.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        self.lifecycle.run(shutdown).await.context("the gateway failed")
    }
}

/// What is heard at the moment.
#[derive(Clone, Default)]
struct Heard {
    registry: Connected,
    bus: Connected,
}

/// Ready is who knows the way to the services. Without the registry that stays as it is, without the bus events come from the
/// log, and without the log those that follow on one another come from the bus.
fn watch_health(
    health: &Arc<Health>,
    tasks: &TaskSet,
    gateway: &Arc<Gateway>,
    heard: &Heard,
    bus: &Arc<dyn Bus>,
    redis: Option<Redis>,
) {
    let shared = Arc::clone(gateway);
    let routes = Check::required("routes", move || {
        // Waits until its deadline rather than fail at once, so that the gateway is ready as soon as it can be.
        let (gateway, mut changes) = (Arc::clone(&shared), shared.changes());
        async move {
            while !gateway.table().complete {
                changes.changed().await.map_err(Error::internal)?;
            }
            Ok(())
        }
    });
    health.register(tasks, routes.every(Duration::from_millis(500)));
    let connected = heard.registry.clone();
    let registry = Check::optional("registry", move || {
        let connected = connected.clone();
        async move {
            connected.wait().await;
            Ok(())
        }
    });
    health.register(tasks, registry.every(Duration::from_secs(1)));
    let (connected, bus) = (heard.bus.clone(), Arc::clone(bus));
    let bus = Check::optional("bus", move || {
        let (connected, healthy) = (connected.clone(), bus.is_healthy());
        async move {
            if !healthy {
                return Err(Error::unavailable("the bus is away"));
            }
            connected.wait().await;
            Ok(())
        }
    });
    health.register(tasks, bus.every(Duration::from_secs(1)));
    if let Some(redis) = redis {
        let log = Check::optional("realtime-log", move || {
            let redis = redis.clone();
            async move { redis.ping().await }
        });
        health.register(tasks, log.every(Duration::from_secs(5)));
    }
}

fn start_tasks(
    tasks: &TaskSet,
    gateway: &Arc<Gateway>,
    registry: &Arc<dyn Registry>,
    log: Arc<dyn RealtimeLog>,
    heard: &Heard,
    bus: &Arc<dyn Bus>,
) {
    let (shared, registry, connected) = (Arc::clone(gateway), Arc::clone(registry), heard.registry.clone());
    tasks.spawn("routes", Policy::Restart, move |stop| {
        routes::follow(Arc::clone(&shared), Arc::clone(&registry), connected.clone(), stop)
    });
    let shared = Arc::clone(gateway);
    tasks.spawn("openapi", Policy::Restart, move |stop| routes::gather(Arc::clone(&shared), VERSION, stop));
    let (hub, bus, connected) = (Arc::clone(&gateway.hub), Arc::clone(bus), heard.bus.clone());
    tasks.spawn("realtime", Policy::Restart, move |stop| {
        realtime::listen(Arc::clone(&hub), Arc::clone(&bus), connected.clone(), stop)
    });
    let (hub, connected) = (Arc::clone(&gateway.hub), heard.bus.clone());
    let every = gateway.config.realtime.look;
    tasks.spawn("realtime-look", Policy::Restart, move |stop| {
        realtime::look_for_missed(Arc::clone(&hub), Arc::clone(&log), connected.clone(), every, stop)
    });
}
