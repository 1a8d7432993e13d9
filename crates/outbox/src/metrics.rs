use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use sker_error::{Error, Result};

/// What the relay tells of itself. Cheap to clone.
#[derive(Clone)]
pub struct RelayMetrics {
    pub(crate) lag: Gauge,
    pub(crate) pending: IntGauge,
    pub(crate) published: IntCounterVec,
    pub(crate) refused: IntCounterVec,
    pub(crate) failures: IntCounter,
}

impl RelayMetrics {
    /// Adds `outbox_lag_seconds`, `outbox_pending_rows`, `outbox_published_total{exchange}`,
    /// `outbox_refused_total{exchange}` and `outbox_relay_failures_total` to a service's metrics.
    pub fn new(registry: &Registry) -> Result<Self> {
        Self::register(registry).map_err(Error::internal)
    }

    fn register(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = RelayMetrics {
            lag: Gauge::new("outbox_lag_seconds", "Age of the oldest row that is not published")?,
            pending: IntGauge::new("outbox_pending_rows", "Rows that are not published")?,
            published: IntCounterVec::new(Opts::new("outbox_published_total", "Rows published"), &["exchange"])?,
            refused: IntCounterVec::new(
                Opts::new("outbox_refused_total", "Messages that the bus did not take"),
                &["exchange"],
            )?,
            failures: IntCounter::new("outbox_relay_failures_total", "Passes that ended with an error")?,
        };
        registry.register(Box::new(metrics.lag.clone()))?;
        registry.register(Box::new(metrics.pending.clone()))?;
        registry.register(Box::new(metrics.published.clone()))?;
        registry.register(Box::new(metrics.refused.clone()))?;
        registry.register(Box::new(metrics.failures.clone()))?;
        Ok(metrics)
    }
}
