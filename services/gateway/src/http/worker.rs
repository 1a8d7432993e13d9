//! What one thread has for itself, so that it shares little with the others.

use std::{rc::Rc, sync::Arc, time::Duration};

use hyper::rt::Executor;
use hyper_util::{rt::TokioTimer, server::conn::auto};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{access_log::AccessLog, measure::LocalMetrics};
use crate::{
    gateway::Gateway,
    upstream::{Forward, Pool, Tunnels},
};

/// Runs what hyper spawns on the thread it is on.
#[derive(Clone, Copy, Debug)]
pub struct LocalExecutor;

impl<F> Executor<F> for LocalExecutor
where
    F: Future + 'static,
{
    fn execute(&self, future: F) {
        // HTTP/2 streams of a connection; they end with it.
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}

/// One thread of the data path.
pub struct Worker {
    /// What all threads share.
    pub gateway: Arc<Gateway>,
    /// Its way to the upstreams.
    pub forward: Forward,
    /// Its access log.
    pub log: AccessLog,
    /// Its metrics.
    pub metrics: LocalMetrics,
    /// Connections, sockets and streams that the thread waits for at its end.
    pub tracker: TaskTracker,
    /// Cancelled when it is to take no new work and to end streams.
    pub stop: CancellationToken,
    pub(super) server: auto::Builder<LocalExecutor>,
}

impl Worker {
    /// A thread's worker. Must be made on that thread.
    pub fn new(gateway: Arc<Gateway>, stop: CancellationToken) -> Rc<Self> {
        let config = &gateway.config;
        let tracker = TaskTracker::new();
        let pool = Pool::new(config.upstream.idle, config.upstream.most_idle);
        let tunnels = Tunnels::new(tracker.clone(), stop.clone());
        let forward = Forward { pool, limits: config.upstream.limits.clone(), tunnels };
        Rc::new(Worker {
            forward,
            log: AccessLog::new(config.access_log_per_second),
            metrics: LocalMetrics::new(gateway.http_metrics.clone()),
            tracker,
            stop,
            server: server(&gateway),
            gateway,
        })
    }
}

fn server(gateway: &Gateway) -> auto::Builder<LocalExecutor> {
    let http = &gateway.config.http;
    let keep_alive = Duration::from_millis(http.keep_alive_ms);
    let head = Duration::from_millis(http.head_timeout_ms);
    let mut builder = auto::Builder::new(LocalExecutor);
    builder
        .http1()
        .timer(TokioTimer::new())
        .keep_alive(!keep_alive.is_zero())
        // hyper's clock starts when the last answer ends, so this is the limit of idleness too. The first head of a
        // connection has a limit of its own.
        .header_read_timeout(keep_alive.max(head))
        .max_headers(gateway.config.max_headers)
        .max_buf_size(gateway.config.max_head_bytes);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(128)
        .max_header_list_size(u32::try_from(gateway.config.max_head_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20))
        // Clients that open streams only to reset them (CVE-2023-44487, CVE-2025-8671).
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(256);
    builder
}
