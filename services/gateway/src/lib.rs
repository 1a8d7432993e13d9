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
pub mod gateway;
pub mod http;
pub mod realtime;
pub mod routes;
pub mod upstream;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use sker_api::{Registry, Store};
use sker_auth::TokenKeys;
use sker_bus::Bus;
use sker_cache::RealtimeLog;
use sker_client::Registrar;
use sker_error::Error;
use sker_runtime::{
    Check, Health, Lifecycle, Listeners, MainRuntime, Policy, Standard, TaskSet, advertised_host, platform_instance,
    program::ServiceConfig,
};
use sker_telemetry::Metrics;
use tokio_util::sync::CancellationToken;

pub use config::Config;
use gateway::Gateway;
use realtime::Hub;

const SERVICE: &str = Config::SERVICE;
const VERSION: &str = Config::VERSION;

/// What the gateway needs from elsewhere.
#[derive(Clone)]
pub struct Deps {
    /// Where routes come from, and where it registers itself.
    pub registry: Arc<dyn Registry>,
    /// What a token does not say.
    pub store: Arc<dyn Store>,
    /// What happens.
    pub bus: Arc<dyn Bus>,
    /// What happened.
    pub log: Arc<dyn RealtimeLog>,
    /// What tokens are verified with.
    pub keys: Arc<TokenKeys>,
}

/// A gateway that is about to run.
pub struct Service {
    gateway: Arc<Gateway>,
    lifecycle: Lifecycle,
    address: SocketAddr,
}

/// Puts a gateway together. Calls no dependency.
pub async fn build(config: Config, deps: Deps, listeners: Listeners) -> anyhow::Result<Service> {
    let address = listeners.http_address()?;
    let Deps { registry, store, bus, log, keys } = deps;
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
    let (shutdown, look) = (config.shutdown.clone(), config.realtime.look);
    let main = MainRuntime::current();
    let gateway =
        Gateway::new(config, keys, store, Arc::clone(&log), Arc::clone(&hub), standard, main, document.into());

    let connected = routes::Connected::default();
    watch_health(&health, &tasks, &gateway, &connected, &bus);
    start_tasks(&tasks, &gateway, &registry, &connected, &bus, look);
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

fn watch_health(
    health: &Arc<Health>,
    tasks: &TaskSet,
    gateway: &Arc<Gateway>,
    connected: &routes::Connected,
    bus: &Arc<dyn Bus>,
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
    let connected = connected.clone();
    let registry = Check::optional("registry", move || {
        let connected = connected.clone();
        async move {
            connected.wait().await;
            Ok(())
        }
    });
    health.register(tasks, registry.every(Duration::from_secs(1)));
    let bus = Arc::clone(bus);
    health.register(
        tasks,
        Check::optional("bus", move || {
            let healthy = bus.is_healthy();
            async move { if healthy { Ok(()) } else { Err(Error::unavailable("the bus is away")) } }
        })
        .every(Duration::from_secs(1)),
    );
}

fn start_tasks(
    tasks: &TaskSet,
    gateway: &Arc<Gateway>,
    registry: &Arc<dyn Registry>,
    connected: &routes::Connected,
    bus: &Arc<dyn Bus>,
    look: Duration,
) {
    let (shared, registry, connected) = (Arc::clone(gateway), Arc::clone(registry), connected.clone());
    tasks.spawn("routes", Policy::Restart, move |stop| {
        routes::follow(Arc::clone(&shared), Arc::clone(&registry), connected.clone(), stop)
    });
    let shared = Arc::clone(gateway);
    tasks.spawn("openapi", Policy::Restart, move |stop| routes::gather(Arc::clone(&shared), VERSION, stop));
    let (hub, bus) = (Arc::clone(&gateway.hub), Arc::clone(bus));
    tasks.spawn("realtime", Policy::Restart, move |stop| realtime::listen(Arc::clone(&hub), Arc::clone(&bus), stop));
    let (hub, log) = (Arc::clone(&gateway.hub), Arc::clone(&gateway.log));
    tasks.spawn("realtime-look", Policy::Restart, move |stop| {
        realtime::look_for_missed(Arc::clone(&hub), Arc::clone(&log), look, stop)
    });
}
