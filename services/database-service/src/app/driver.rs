use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::time::Instant;
use utoipa::ToSchema;

use super::{Kind, Target};

/// How far a probe came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Finding the host, or the file.
    Resolve,
    /// Opening the connection, or the file.
    Connect,
    /// Securing it.
    Tls,
    /// Signing in.
    Authenticate,
    /// Asking something.
    Query,
    /// All went well.
    Done,
}

impl Step {
    const ALL: [Step; 6] = [Step::Resolve, Step::Connect, Step::Tls, Step::Authenticate, Step::Query, Step::Done];

    /// The name on the wire and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Step::Resolve => "resolve",
            Step::Connect => "connect",
            Step::Tls => "tls",
            Step::Authenticate => "authenticate",
            Step::Query => "query",
            Step::Done => "done",
        }
    }

    /// The step of that name.
    pub fn parse(name: &str) -> Option<Step> {
        Step::ALL.into_iter().find(|step| step.as_str() == name)
    }
}

/// Why a probe failed. The message is public: no credentials, no paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What was being done.
    pub step: Step,
    /// What went wrong.
    pub message: String,
}

/// Where a probe is right now, so that one that is cut off at its deadline can still say how far it came.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<AtomicU8>);

impl Progress {
    /// Says that a step begins.
    pub fn enter(&self, step: Step) {
        self.0.store(step as u8, Ordering::Relaxed);
    }

    /// The step that began last.
    pub fn step(&self) -> Step {
        Step::ALL.get(usize::from(self.0.load(Ordering::Relaxed))).copied().unwrap_or(Step::Done)
    }

    /// A failure of the step that began last.
    pub fn failure(&self, message: impl Into<String>) -> Failure {
        Failure { step: self.step(), message: message.into() }
    }
}

/// How thoroughly to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Cheap enough for every minute.
    Light,
    /// With what costs more.
    Deep,
}

/// What a look found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observation {
    /// How long connecting took; set by who holds the session.
    pub connect: Duration,
    /// The server's version.
    pub version: Option<String>,
    /// Primary, replica, and the like.
    pub role: Option<String>,
    /// How long the server has been up.
    pub uptime_s: Option<u64>,
    /// Figures of this kind of database.
    pub details: Map<String, Value>,
}

/// Opens sessions with one kind of database.
#[async_trait]
pub trait Driver: Send + Sync + 'static {
    /// Opens a session. The caller drops the call at `deadline`; what cannot be dropped must end itself by then.
    async fn connect(
        &self,
        target: &Target,
        deadline: Instant,
        progress: &Progress,
    ) -> Result<Box<dyn Session>, Failure>;

    /// What is wrong with a target's URL, before it is ever used.
    fn check_url(&self, url: &str) -> Result<(), String>;

    /// What is wrong with the URL of a target's management API, before it is ever used.
    fn check_management_url(&self, _url: &str) -> Result<(), String> {
        Err("databases of this kind have no management API".to_owned())
    }
}

/// A connection of the service's own to one target. Dropping it ends the connection and whatever runs on it.
#[async_trait]
pub trait Session: Send {
    /// Looks at the target, reading only. After a failure the session is not used again.
    async fn look(&mut self, depth: Depth, progress: &Progress) -> Result<Observation, Failure>;

    /// Whether it is worth keeping until the next look.
    fn is_lasting(&self) -> bool {
        true
    }

    /// Takes leave in the way the server expects.
    async fn close(self: Box<Self>);
}

/// The drivers there are.
#[derive(Clone, Default)]
pub struct Drivers {
    drivers: BTreeMap<Kind, Arc<dyn Driver>>,
}

impl Drivers {
    /// None yet.
    pub fn new() -> Self {
        Drivers::default()
    }

    /// Adds the driver of a kind.
    pub fn with(mut self, kind: Kind, driver: Arc<dyn Driver>) -> Self {
        self.drivers.insert(kind, driver);
        self
    }

    /// The driver of a kind; `None` when this version has none.
    pub fn get(&self, kind: Kind) -> Option<&Arc<dyn Driver>> {
        self.drivers.get(&kind)
    }

    /// The kinds that there are drivers for.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> + '_ {
        self.drivers.keys().copied()
    }
}
