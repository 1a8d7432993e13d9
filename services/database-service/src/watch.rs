//! Wires targets to drivers, the journal, background tasks and metrics.

use std::sync::Arc;

use anyhow::Context;
use sker_runtime::{Policy, TaskSet};
use sker_telemetry::Metrics;
use sker_types::now;

use crate::{
    app::{Checker, Drivers, Journal, Record, Status, Uptime},
    config::Config,
    store::DbJournal,
};

/// A checker for every configured target, going on from what is remembered.
pub async fn checkers(config: &Config, drivers: &Drivers, journal: &dyn Journal) -> anyhow::Result<Vec<Arc<Checker>>> {
    let mut checkers = Vec::with_capacity(config.targets.len());
    for target in &config.targets {
        let driver = drivers.get(target.kind).with_context(|| format!("there is no driver for {}", target.kind))?;
        let remembered = journal.load(target, Uptime::oldest_hour(now())).await;
        let remembered = remembered.with_context(|| format!("the history of {} cannot be read", target.name))?;
        checkers.push(Arc::new(Checker::new(target.clone(), Arc::clone(driver), config.checks, remembered)));
    }
    Ok(checkers)
}

/// Checks a target in a background task.
pub fn spawn(tasks: &TaskSet, checker: Arc<Checker>, journal: Arc<DbJournal>, metrics: &Metrics) {
    let figures = Figures::new(metrics);
    let name = format!("check:{}", checker.target().name);
    tasks.spawn(name, Policy::Restart, move |token| {
        let (checker, journal, figures) = (Arc::clone(&checker), Arc::clone(&journal), figures.clone());
        async move {
            checker.run(&*journal, token, |record| figures.observe(&checker, record)).await;
        }
    });
}

/// What Prometheus sees of the checks.
#[derive(Clone)]
struct Figures {
    connections: sker_telemetry::prometheus::IntCounterVec,
    response_time: sker_telemetry::prometheus::HistogramVec,
    up: sker_telemetry::prometheus::IntGaugeVec,
}

impl Figures {
    fn new(metrics: &Metrics) -> Self {
        let labels = &["type", "target"];
        Figures {
            connections: metrics.counter_vec(
                "db_connections_total",
                "Connections opened to targets, by result.",
                &["type", "target", "result"],
            ),
            response_time: metrics.histogram_vec(
                "db_response_time_seconds",
                "How long the checks of targets took that succeeded.",
                labels,
            ),
            up: metrics.gauge_vec("db_up", "1 while a target is not down, else 0.", labels),
        }
    }

    fn observe(&self, checker: &Checker, record: &Record) {
        let (kind, target) = (checker.target().kind.as_str(), record.target.as_str());
        let (opened, refused) = checker.connections();
        for (result, total) in [("success", opened), ("failure", refused)] {
            let counter = self.connections.with_label_values(&[kind, target, result]);
            counter.inc_by(total.saturating_sub(counter.get()));
        }
        if record.success {
            self.response_time.with_label_values(&[kind, target]).observe(record.latency_ms / 1000.0);
        }
        self.up.with_label_values(&[kind, target]).set(i64::from(record.status != Status::Unhealthy));
    }
}
