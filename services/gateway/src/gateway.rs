//! What all threads of the gateway share. Nothing in it is locked for longer than a pointer takes to swap.

use std::{sync::Arc, time::Duration};

use arc_swap::{ArcSwap, Guard};
use bytes::Bytes;
use sker_api::Store;
use sker_auth::TokenKeys;
use sker_runtime::{MainRuntime, Standard};
use tokio::{sync::watch, time::timeout};

use crate::{
    app::table::RouteTable,
    config::Config,
    http::HttpMetrics,
    realtime::{Hub, LogReader},
};

/// How long requests wait for the first whole table.
const FIRST_TABLE: Duration = Duration::from_secs(5);

/// The gateway without its threads and tasks.
pub struct Gateway {
    /// Its configuration.
    pub config: Config,
    /// What tokens are verified with.
    pub keys: Arc<TokenKeys>,
    /// What a token does not say.
    pub store: Arc<dyn Store>,
    /// The realtime log, for sockets and event streams.
    pub log: LogReader,
    /// Who listens to what.
    pub hub: Arc<Hub>,
    /// Health, metrics and the API page.
    pub standard: Standard,
    /// Metrics of requests.
    pub http_metrics: HttpMetrics,
    /// The runtime that calls to other services run on: a connection made on a worker's would die with it.
    pub main: MainRuntime,
    table: ArcSwap<RouteTable>,
    changes: watch::Sender<u64>,
    document: ArcSwap<Bytes>,
}

impl Gateway {
    /// A gateway that knows no route.
    #[expect(clippy::too_many_arguments, reason = "called once, by `build`, with everything a gateway is made of")]
    pub fn new(
        config: Config,
        keys: Arc<TokenKeys>,
        store: Arc<dyn Store>,
        log: LogReader,
        hub: Arc<Hub>,
        standard: Standard,
        main: MainRuntime,
        document: Bytes,
    ) -> Arc<Self> {
        let http_metrics = HttpMetrics::new(&standard.metrics);
        Arc::new(Gateway {
            config,
            keys,
            store,
            log,
            hub,
            standard,
            http_metrics,
            main,
            table: ArcSwap::from_pointee(RouteTable::default()),
            changes: watch::Sender::new(0),
            document: ArcSwap::from_pointee(document),
        })
    }

    /// The routes in force.
    pub fn table(&self) -> Guard<Arc<RouteTable>> {
        self.table.load()
    }

    /// Puts other routes in force. Requests in flight finish on those they began with.
    pub fn set_table(&self, table: RouteTable) {
        self.table.store(Arc::new(table));
        self.changes.send_modify(|change| *change += 1);
    }

    /// Hears of every change of the routes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Waits until the first whole table is there, for a while. A proxy that finds replicas by name sends requests as soon as
    /// there is a name, which is before this one knows where anything is.
    pub async fn first_table(&self) {
        if self.table().complete {
            return;
        }
        let mut changes = self.changes();
        let whole = async {
            while !self.table().complete {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        // Later ones are told that nothing serves their path.
        let _ = timeout(FIRST_TABLE, whole).await;
    }

    /// The OpenAPI document of everything that can be reached.
    pub fn document(&self) -> Bytes {
        Bytes::clone(&self.document.load())
    }

    /// Replaces it.
    pub fn set_document(&self, document: Bytes) {
        self.document.store(Arc::new(document));
    }
}
