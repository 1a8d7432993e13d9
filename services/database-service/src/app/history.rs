use async_trait::async_trait;
use serde::Serialize;
use sker_error::Result;
use sker_types::{Time, Uuid};
use utoipa::ToSchema;

use super::{Kind, ProbeError, Share, Status, Target, Tracker};

/// How many checks of a target are remembered.
pub const HISTORY_LENGTH: usize = 100;

/// One check that was made.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Record {
    /// The check's id.
    pub id: Uuid,
    /// The target's name.
    pub target: String,
    /// When it ended.
    #[schema(value_type = String, format = DateTime)]
    pub checked_at: Time,
    /// Whether it succeeded.
    pub success: bool,
    /// How the target was held to be after it.
    pub status: Status,
    /// How long it took.
    pub latency_ms: f64,
    /// Why it failed.
    pub error: Option<ProbeError>,
}

/// The last checks of a kind's targets.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct History {
    /// The kind of database.
    #[schema(value_type = String, example = "sqlite")]
    pub database_type: Kind,
    /// How many checks are in `history`.
    pub count: usize,
    /// The checks, newest first.
    pub history: Vec<Record>,
}

/// What is known of a target from before a restart.
#[derive(Clone, Debug, Default)]
pub struct Remembered {
    /// How it was.
    pub tracker: Option<Tracker>,
    /// Its last checks, oldest first.
    pub records: Vec<Record>,
    /// Its uptime by hours.
    pub hours: Vec<(i64, Share)>,
}

/// Keeps what must survive a restart.
#[async_trait]
pub trait Journal: Send + Sync + 'static {
    /// What is known of a target, uptime from `oldest_hour` on.
    async fn load(&self, target: &Target, oldest_hour: i64) -> Result<Remembered>;

    /// Adds a check with what it changed, and forgets what is too old.
    async fn record(&self, target: &Target, record: &Record, tracker: &Tracker, hour: (i64, Share)) -> Result<()>;
}
