use serde::Serialize;
use sker_types::Time;
use utoipa::ToSchema;

use super::{Condition, Kind, ProbeError, Status, Target, Tracker};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It fails, and may recover by itself.
    Warning,
    /// It is down.
    Critical,
}

/// A target that is not well.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Alert {
    /// The target's name.
    pub target: String,
    /// Its kind.
    #[schema(value_type = String, example = "sqlite")]
    pub database_type: Kind,
    /// How bad it is.
    pub severity: Severity,
    /// How the target is.
    pub status: Status,
    /// When it began to fail.
    #[schema(value_type = String, format = DateTime)]
    pub since: Time,
    /// That in words.
    pub message: String,
    /// Why the last check failed.
    pub error: Option<ProbeError>,
}

/// `GET /api/database/alerts`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Alerts {
    /// How many there are.
    pub count: usize,
    /// The worst first, then the oldest.
    pub alerts: Vec<Alert>,
}

impl Alert {
    /// The alert that a target's state calls for, if any. A single failure calls for none.
    pub(super) fn of(target: &Target, tracker: &Tracker, error: Option<&ProbeError>) -> Option<Alert> {
        let severity = match tracker.condition {
            Condition::Down => Severity::Critical,
            Condition::Suspect if tracker.failures > 1 => Severity::Warning,
            _ => return None,
        };
        let what = if severity == Severity::Critical { "is down" } else { "fails" };
        Some(Alert {
            target: target.name.clone(),
            database_type: target.kind,
            severity,
            status: Status::from(tracker.condition),
            since: tracker.failing_since.unwrap_or(tracker.since),
            message: format!("{} {} {what}", target.kind.title(), target.name),
            error: error.cloned(),
        })
    }
}
