use std::sync::Weak;

use prometheus::{
    Histogram, HistogramOpts, IntGaugeVec, Opts,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use sker_error::{Error, Result};

use crate::Inner;

/// How long callers waited for a transaction to begin: on SQLite, for the one writer.
pub(crate) fn begin_wait() -> Result<Histogram> {
    let options = HistogramOpts::new("db_begin_wait_seconds", "Time from asking for a transaction until it began")
        .buckets(vec![0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0]);
    Histogram::with_opts(options).map_err(Error::internal)
}

/// Reads the pools when somebody asks for metrics. Holds them weakly, so that metrics keep no database open.
pub(crate) struct PoolCollector {
    inner: Weak<Inner>,
    connections: IntGaugeVec,
}

impl PoolCollector {
    pub(crate) fn new(inner: Weak<Inner>) -> prometheus::Result<Self> {
        let options = Opts::new("db_pool_connections", "Connections of a pool, by state");
        Ok(PoolCollector { inner, connections: IntGaugeVec::new(options, &["pool", "state"])? })
    }
}

impl Collector for PoolCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.connections.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let states = self.inner.upgrade().map(|inner| inner.pools.states()).unwrap_or_default();
        for state in states {
            let idle = i64::try_from(state.idle).unwrap_or(i64::MAX);
            let used = (i64::from(state.open) - idle).max(0);
            self.connections.with_label_values(&[state.pool, "idle"]).set(idle);
            self.connections.with_label_values(&[state.pool, "used"]).set(used);
        }
        self.connections.collect()
    }
}
