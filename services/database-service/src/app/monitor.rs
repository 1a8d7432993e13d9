use std::{collections::BTreeMap, sync::Arc};

use sker_error::{Error, Result};
use sker_types::{Time, now};

use super::{
    Alert, Alerts, Checker, Connection, Connections, Drivers, HISTORY_LENGTH, HealthView, History, Kind, KindStatus,
    Metrics, OverallStatus, Record, Share, Status, StatusView, TargetStatus, checker::millis,
};

/// All targets, and what is known of them. Nothing here waits for a database.
pub struct Monitor {
    pub(super) checkers: Vec<Arc<Checker>>,
    pub(super) drivers: Drivers,
    /// Settings that are only tried have a budget of their own.
    pub(super) trials: tokio::sync::Semaphore,
    pub(super) trial_deadline: std::time::Duration,
}

impl Monitor {
    /// A monitor of these targets. `trial_deadline` bounds tests of settings that are not configured.
    pub fn new(checkers: Vec<Arc<Checker>>, drivers: Drivers, trial_deadline: std::time::Duration) -> Self {
        Monitor { checkers, drivers, trials: tokio::sync::Semaphore::new(2), trial_deadline }
    }

    /// The targets.
    pub fn checkers(&self) -> &[Arc<Checker>] {
        &self.checkers
    }

    /// The kinds that this version can check.
    pub fn supported(&self) -> Vec<Kind> {
        self.drivers.kinds().collect()
    }

    pub(super) fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Arc<Checker>> {
        self.checkers.iter().filter(move |checker| checker.target().kind == kind)
    }

    /// How every kind is.
    pub fn status(&self) -> StatusView {
        let databases: BTreeMap<Kind, KindStatus> =
            Kind::ALL.into_iter().map(|kind| (kind, self.kind_status(kind))).collect();
        StatusView { overall_status: self.overall(), timestamp: now(), databases }
    }

    /// How the targets of a kind are.
    pub fn kind_status(&self, kind: Kind) -> KindStatus {
        let targets: Vec<TargetStatus> = self.of_kind(kind).map(|checker| target_status(checker)).collect();
        let status = Status::together(targets.iter().map(|target| target.status));
        let healthy = targets.iter().filter(|target| target.status == Status::Healthy).count();
        let message = match (targets.len(), self.drivers.get(kind)) {
            (0, Some(_)) => format!("no {} target is configured", kind.title()),
            (0, None) => format!("no {} target is configured; its driver follows in a later release", kind.title()),
            (count, _) => format!("{healthy} of {count} healthy"),
        };
        KindStatus { database_type: kind, status, configured: !targets.is_empty(), message, targets }
    }

    /// Every configured target with the figures of all together.
    pub fn health(&self) -> HealthView {
        HealthView {
            overall_status: self.overall(),
            timestamp: now(),
            summary: self.metrics(),
            targets: self.checkers.iter().map(|checker| target_status(checker)).collect(),
            not_configured: Kind::ALL.into_iter().filter(|kind| self.of_kind(*kind).next().is_none()).collect(),
        }
    }

    /// The figures of all together.
    pub fn metrics(&self) -> Metrics {
        let now = now();
        let seen: Vec<_> = self.checkers.iter().map(|checker| checker.seen()).collect();
        let count = |status| seen.iter().filter(|seen| Status::from(seen.tracker.condition) == status).count();
        let latencies: Vec<f64> = seen.iter().filter_map(|seen| Some(seen.latency_when_well?.as_secs_f64())).collect();
        let mean = if latencies.is_empty() { 0.0 } else { latencies.iter().sum::<f64>() / latencies.len() as f64 };
        let watched = seen.iter().fold(Share::default(), |sum, seen| sum.plus(seen.uptime.total(now)));
        Metrics {
            overall_status: self.overall(),
            database_count: seen.len(),
            healthy_databases: count(Status::Healthy),
            unhealthy_databases: count(Status::Unhealthy),
            average_response_time: (mean * 1e6).round() / 1e6,
            uptime_percentage: watched.percentage(),
        }
    }

    /// The connections to the targets.
    pub fn connections(&self) -> Connections {
        let connections: Vec<Connection> = self.checkers.iter().map(|checker| connection(checker)).collect();
        Connections { count: connections.len(), connections }
    }

    /// The last checks of a kind's targets, or of one of them, newest first.
    ///
    /// # Errors
    /// `not_found` when there is no such target.
    pub fn history(&self, kind: Kind, target: Option<&str>, limit: usize) -> Result<History> {
        if let Some(name) = target
            && !self.of_kind(kind).any(|checker| checker.target().name == name)
        {
            return Err(Error::not_found("target"));
        }
        let wanted = self.of_kind(kind).filter(|checker| target.is_none_or(|name| checker.target().name == name));
        let mut history: Vec<Record> = wanted.flat_map(|checker| checker.seen().records.clone()).collect();
        history.sort_by_key(|record| std::cmp::Reverse((record.checked_at, record.id)));
        history.truncate(limit.min(HISTORY_LENGTH));
        Ok(History { database_type: kind, count: history.len(), history })
    }

    /// Targets that are not well.
    pub fn alerts(&self) -> Alerts {
        let mut alerts: Vec<Alert> = self
            .checkers
            .iter()
            .filter_map(|checker| {
                let seen = checker.seen();
                let error = seen.records.back().and_then(|record| record.error.as_ref());
                Alert::of(checker.target(), &seen.tracker, error)
            })
            .collect();
        alerts.sort_by_key(|alert| (std::cmp::Reverse(alert.severity), alert.since));
        Alerts { count: alerts.len(), alerts }
    }

    fn overall(&self) -> OverallStatus {
        let all = self.checkers.iter().map(|checker| Status::from(checker.seen().tracker.condition));
        OverallStatus::from(Status::together(all))
    }
}

fn target_status(checker: &Checker) -> TargetStatus {
    let seen = checker.seen();
    let now: Time = now();
    let observation = seen.observation.as_ref();
    let last = seen.last.as_ref();
    TargetStatus {
        name: checker.target().name.clone(),
        database_type: checker.target().kind,
        status: Status::from(seen.tracker.condition),
        since: seen.tracker.since,
        failing_since: seen.tracker.failing_since,
        consecutive_failures: seen.tracker.failures,
        consecutive_successes: seen.tracker.successes,
        checked_at: last.map(|last| last.checked_at),
        age_ms: last.map(|last| u64::try_from(last.at.elapsed().as_millis()).unwrap_or(u64::MAX)),
        latency_ms: last.map(|last| millis(last.latency)),
        connect_ms: observation.map(|observation| millis(observation.connect)),
        version: observation.and_then(|observation| observation.version.clone()),
        role: observation.and_then(|observation| observation.role.clone()),
        uptime_s: observation.and_then(|observation| observation.uptime_s),
        error: last.and_then(|last| last.error.clone()),
        uptime_percentage: seen.uptime.total(now).percentage(),
        details: observation.map(|observation| observation.details.clone()).unwrap_or_default(),
    }
}

fn connection(checker: &Checker) -> Connection {
    let (connections_total, failures_total) = checker.connections();
    let (busy, connected) = (checker.is_busy(), checker.is_connected());
    let state = match (busy, connected) {
        (true, _) => "checking",
        (false, true) => "connected",
        (false, false) => "idle",
    };
    Connection {
        name: checker.target().name.clone(),
        database_type: checker.target().kind,
        url: checker.target().shown_url(),
        state: state.to_owned(),
        open: usize::from(busy || connected),
        budget: 1,
        connections_total,
        failures_total,
        latency_ms: checker.seen().last.as_ref().map(|last| millis(last.latency)),
    }
}
