//! The gRPC server.

use std::{net::TcpListener, sync::Arc, time::Duration};

use anyhow::Context;
use tokio_util::sync::CancellationToken;
use tonic::{
    service::Routes,
    transport::{Server, server::TcpIncoming},
};
use tonic_health::{ServingStatus, pb::health_server::HealthServer, server::HealthService};

use crate::{Health, rpc::draining::EndStreams};

mod draining;

/// The largest message that is sent or taken. tonic's own limit of 4 MiB is too small for a large document.
pub const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// How long a client may be silent before it is asked whether it is still there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves `routes` beside `grpc.health.v1` and reflection until `stop` is cancelled; then takes no new calls and returns when
/// those in flight are answered. Streams that would go on end with `unavailable`, so that their callers look elsewhere.
pub async fn serve(
    listener: TcpListener,
    routes: Routes,
    health: Arc<Health>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener).context("cannot listen for gRPC")?;
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let reporter = tonic_health::server::HealthReporter::new();
    let routes = routes
        .add_service(HealthServer::new(HealthService::from_health_reporter(reporter.clone())))
        .add_service(reflection().build_v1().context("the descriptors are not readable")?)
        .add_service(reflection().build_v1alpha().context("the descriptors are not readable")?)
        .prepare();
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .http2_adaptive_window(Some(true))
        .layer(EndStreams::new(stop.clone()))
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
    tokio::select! {
        served = server => served.context("the gRPC server failed"),
        never = follow_health(&health, reporter) => never,
    }
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(sker_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

/// Keeps the gRPC health service at what `/ready` says. Returns never.
async fn follow_health<T>(health: &Health, reporter: tonic_health::server::HealthReporter) -> T {
    let mut ready = health.watch_ready();
    loop {
        let now = *ready.borrow_and_update();
        let status = if now { ServingStatus::Serving } else { ServingStatus::NotServing };
        reporter.set_service_status("", status).await;
        if ready.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
