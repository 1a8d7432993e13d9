use std::{net::TcpListener, sync::Arc, time::Duration};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    http::{KeepAlive, StatusCode},
    middleware::from_fn,
    web::{self, Data, PayloadConfig, ServiceConfig},
};
use anyhow::Context;
use sker_auth::TokenKeys;
use tokio_util::sync::CancellationToken;

use super::{boundary::boundary, measure::HttpMetrics, standard};
use crate::{HttpConfig, MainRuntime, ShutdownConfig, Standard};

/// How the HTTP server behaves.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// Threads that serve requests.
    pub workers: usize,
    /// The largest body that is taken.
    pub body_limit_bytes: usize,
    /// How long an idle connection stays open.
    pub keep_alive: Duration,
    /// How long a client may take to send a request's head.
    pub head_timeout: Duration,
    /// Connections per worker.
    pub max_connections: usize,
    /// How long requests in flight may take to end when the server stops.
    pub drain: Duration,
}

impl HttpOptions {
    /// As configured.
    pub fn new(http: &HttpConfig, shutdown: &ShutdownConfig) -> Self {
        HttpOptions {
            workers: http.workers,
            body_limit_bytes: http.body_limit_bytes,
            keep_alive: Duration::from_millis(http.keep_alive_ms),
            head_timeout: Duration::from_millis(http.head_timeout_ms),
            max_connections: http.max_connections,
            drain: shutdown.drain(),
        }
    }
}

impl Default for HttpOptions {
    fn default() -> Self {
        HttpOptions::new(&HttpConfig::default(), &ShutdownConfig::default())
    }
}

/// Serves what `configure` registers, inside the boundary and beside the standard answers, until `stop` is cancelled; then
/// takes no new connections and returns when requests in flight are answered, or after [`HttpOptions::drain`].
///
/// Beside what `configure` adds, handlers find [`MainRuntime`], [`Standard`], [`HttpOptions`] and [`TokenKeys`] as
/// `web::Data`.
pub async fn serve<F>(
    listener: TcpListener,
    options: HttpOptions,
    standard: Standard,
    keys: Arc<TokenKeys>,
    configure: F,
    stop: CancellationToken,
) -> anyhow::Result<()>
where
    F: Fn(&mut ServiceConfig) + Clone + Send + 'static,
{
    let metrics = Data::new(HttpMetrics::new(&standard.metrics));
    let shared = Data::new(standard);
    let keys = Data::from(keys);
    let main = Data::new(MainRuntime::current());
    let settings = Data::new(options.clone());
    let app = move || {
        App::new()
            .app_data(metrics.clone())
            .app_data(shared.clone())
            .app_data(keys.clone())
            .app_data(main.clone())
            .app_data(settings.clone())
            .app_data(PayloadConfig::new(settings.body_limit_bytes))
            .wrap(from_fn(boundary))
            .configure(standard::configure)
            .configure(configure.clone())
            .default_service(web::to(nothing_here))
    };
    let server = HttpServer::new(app)
        .workers(options.workers)
        .keep_alive(if options.keep_alive.is_zero() { KeepAlive::Disabled } else { options.keep_alive.into() })
        .client_request_timeout(options.head_timeout)
        .max_connections(options.max_connections)
        .shutdown_timeout(options.drain.as_secs().max(1))
        // Whoever runs the service decides when it stops.
        .disable_signals()
        .listen(listener)
        .context("cannot listen for HTTP")?
        .run();
    let handle = server.handle();
    // Ends the wait for `stop`, too, when the server ends by itself.
    let ending = stop.child_token();
    let serving = async {
        let served = server.await;
        ending.cancel();
        served
    };
    let stopping = async {
        ending.cancelled().await;
        handle.stop(true).await;
    };
    let (served, ()) = tokio::join!(serving, stopping);
    served.context("the HTTP server failed")?;
    anyhow::ensure!(stop.is_cancelled(), "the HTTP server ended by itself");
    Ok(())
}

/// For a path that nothing is registered for, or that has another method only.
async fn nothing_here(request: HttpRequest) -> HttpResponse {
    let known = request.resource_map().has_resource(request.path());
    HttpResponse::new(if known { StatusCode::METHOD_NOT_ALLOWED } else { StatusCode::NOT_FOUND })
}
