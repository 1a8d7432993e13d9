//! What callers see.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use sker_types::Time;
use utoipa::ToSchema;

use super::{Condition, Failure, Kind, Step};

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// How a target, or all of a kind, is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// No target of this kind is configured.
    NotConfigured,
    /// Not checked yet.
    Unknown,
    /// All is well.
    Healthy,
    /// Some checks fail, or some targets.
    Degraded,
    /// Down.
    Unhealthy,
}

impl Status {
    /// The name on the wire and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::NotConfigured => "not_configured",
            Status::Unknown => "unknown",
            Status::Healthy => "healthy",
            Status::Degraded => "degraded",
            Status::Unhealthy => "unhealthy",
        }
    }

    /// The status of that name.
    pub fn parse(name: &str) -> Option<Status> {
        [Status::NotConfigured, Status::Unknown, Status::Healthy, Status::Degraded, Status::Unhealthy]
            .into_iter()
            .find(|status| status.as_str() == name)
    }

    /// Several together: unhealthy when all are, unknown when nothing is known, degraded when not all are well.
    pub(super) fn together(all: impl IntoIterator<Item = Status>) -> Status {
        let mut all = all.into_iter();
        let Some(first) = all.next() else { return Status::NotConfigured };
        all.fold(first, |sum, next| if sum == next { sum } else { Status::Degraded })
    }
}

impl From<Condition> for Status {
    fn from(condition: Condition) -> Self {
        match condition {
            Condition::Unknown => Status::Unknown,
            Condition::Healthy => Status::Healthy,
            Condition::Suspect => Status::Degraded,
            Condition::Down => Status::Unhealthy,
        }
    }
}

/// How all databases together are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OverallStatus {
    /// All configured targets are well.
    Healthy,
    /// Some are not, or nothing is known of them yet.
    Degraded,
    /// None is.
    Unhealthy,
}

impl From<Status> for OverallStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::NotConfigured | Status::Healthy => OverallStatus::Healthy,
            Status::Unknown | Status::Degraded => OverallStatus::Degraded,
            Status::Unhealthy => OverallStatus::Unhealthy,
        }
    }
}

/// Why a check failed, and doing what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ProbeError {
    /// The step that failed.
    pub step: Step,
    /// What went wrong.
    pub message: String,
}

impl From<Failure> for ProbeError {
    fn from(failure: Failure) -> Self {
        ProbeError { step: failure.step, message: failure.message }
    }
}

/// How one target is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TargetStatus {
    /// Its name.
    pub name: String,
    /// Its kind.
    #[schema(value_type = String, example = "sqlite")]
    pub database_type: Kind,
    /// How it is.
    pub status: Status,
    /// Since when it is so.
    #[schema(value_type = String, format = DateTime)]
    pub since: Time,
    /// When the first failure was that it has not recovered from.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub failing_since: Option<Time>,
    /// Failures in a row.
    pub consecutive_failures: u32,
    /// Successes in a row.
    pub consecutive_successes: u32,
    /// When it was last checked.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub checked_at: Option<Time>,
    /// How long ago that was.
    pub age_ms: Option<u64>,
    /// How long the last check took.
    pub latency_ms: Option<f64>,
    /// How long connecting took in the last check that succeeded.
    pub connect_ms: Option<f64>,
    /// The server's version.
    pub version: Option<String>,
    /// Primary, replica, and the like; `null` where there is no such thing.
    pub role: Option<String>,
    /// How long the server has been up; `null` where there is no server.
    pub uptime_s: Option<u64>,
    /// Why the last check failed.
    pub error: Option<ProbeError>,
    /// The share of the last 24 hours that was watched and in which it was up.
    pub uptime_percentage: f64,
    /// Figures of this kind of database, as of the last check that succeeded.
    #[schema(value_type = Object)]
    pub details: Map<String, Value>,
}

/// How the targets of a kind are.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct KindStatus {
    /// The kind.
    #[schema(value_type = String, example = "sqlite")]
    pub database_type: Kind,
    /// How they are together.
    pub status: Status,
    /// Whether there is any.
    pub configured: bool,
    /// That in words.
    pub message: String,
    /// One by one.
    pub targets: Vec<TargetStatus>,
}

/// `GET /api/database/status`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct StatusView {
    /// All together.
    pub overall_status: OverallStatus,
    /// When this was read.
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: Time,
    /// Every kind there is, configured or not.
    #[schema(value_type = Object)]
    pub databases: BTreeMap<Kind, KindStatus>,
}

/// `GET /api/database/health`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct HealthView {
    /// All together.
    pub overall_status: OverallStatus,
    /// When this was read.
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: Time,
    /// The figures of `/api/database/metrics`.
    pub summary: Metrics,
    /// The configured targets.
    pub targets: Vec<TargetStatus>,
    /// Kinds without a target.
    #[schema(value_type = Vec<String>)]
    pub not_configured: Vec<Kind>,
}

/// `GET /api/database/metrics`. Counts cover configured targets.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Metrics {
    /// All together.
    pub overall_status: OverallStatus,
    /// Configured targets.
    pub database_count: usize,
    /// Those that are healthy.
    pub healthy_databases: usize,
    /// Those that are down.
    pub unhealthy_databases: usize,
    /// Seconds, the mean of the targets' last successful checks.
    pub average_response_time: f64,
    /// Over the last 24 hours.
    pub uptime_percentage: f64,
}

/// The connections to one target.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Connection {
    /// The target's name.
    pub name: String,
    /// Its kind.
    #[schema(value_type = String, example = "sqlite")]
    pub database_type: Kind,
    /// Where it is, without credentials.
    pub url: String,
    /// `checking` while a check or a test is under way, `connected` while a connection is kept for the next check, else
    /// `idle`.
    pub state: String,
    /// Connections that are open now.
    pub open: usize,
    /// Connections that may be open at once.
    pub budget: usize,
    /// Connections opened since the start of this service.
    pub connections_total: u64,
    /// Attempts that failed.
    pub failures_total: u64,
    /// How long the last check took.
    pub latency_ms: Option<f64>,
}

/// `GET /api/database/connections`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Connections {
    /// How many targets there are.
    pub count: usize,
    /// One by one.
    pub connections: Vec<Connection>,
}

/// `GET /`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ServiceInfo {
    /// The service's name.
    pub service: &'static str,
    /// Its version.
    pub version: &'static str,
    /// What it does.
    pub description: &'static str,
    /// Where the interactive API page is.
    pub docs: &'static str,
    /// Where its own health is.
    pub health: &'static str,
    /// Where the databases' health is.
    pub databases: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_statuses_make_one() {
        use Status::{Degraded, Healthy, NotConfigured, Unhealthy, Unknown};
        for (all, together) in [
            (&[][..], NotConfigured),
            (&[Healthy, Healthy], Healthy),
            (&[Healthy, Unhealthy], Degraded),
            (&[Unhealthy, Unhealthy], Unhealthy),
            (&[Unknown], Unknown),
            (&[Healthy, Unknown], Degraded),
            (&[Healthy, Degraded], Degraded),
        ] {
            assert_eq!(Status::together(all.iter().copied()), together, "{all:?}");
        }
        assert_eq!(OverallStatus::from(NotConfigured), OverallStatus::Healthy);
    }
}
