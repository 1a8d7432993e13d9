use std::{
    fmt,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use futures::{FutureExt, future::BoxFuture};
use serde::Serialize;
use sker_error::{Error, Result};

use crate::tasks::panic_message;

/// Whether a service can do without what a check looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Criticality {
    /// While it fails the service is not ready.
    Required,
    /// While it fails the service is degraded.
    Optional,
}

/// How one dependency is watched.
pub struct Check {
    pub(crate) name: String,
    pub(crate) criticality: Criticality,
    pub(crate) interval: Duration,
    pub(crate) deadline: Duration,
    probe: Box<dyn Fn() -> BoxFuture<'static, Result<()>> + Send + Sync>,
    last: ArcSwapOption<Last>,
}

struct Last {
    at: Instant,
    latency: Duration,
    healthy: bool,
}

/// What a check last found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckStatus {
    /// It has not finished once yet.
    Unknown,
    /// It succeeded.
    Healthy,
    /// It failed or took longer than its deadline.
    Unhealthy,
}

/// One check in the answer of `/health`.
#[derive(Clone, Debug, Serialize)]
pub struct CheckReport {
    /// What is checked.
    pub name: String,
    /// What was found last.
    pub status: CheckStatus,
    /// How long that took.
    pub latency_ms: Option<u64>,
    /// How long ago that was.
    pub age_ms: Option<u64>,
}

impl Check {
    /// Watches something that the service cannot do without.
    pub fn required<F, Fut>(name: impl Into<String>, probe: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        Check::new(name, Criticality::Required, probe)
    }

    /// Watches something that the service can do without for a while.
    pub fn optional<F, Fut>(name: impl Into<String>, probe: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        Check::new(name, Criticality::Optional, probe)
    }

    /// A check every 5 s that has 2 s to answer.
    pub fn new<F, Fut>(name: impl Into<String>, criticality: Criticality, probe: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        Check {
            name: name.into(),
            criticality,
            interval: Duration::from_secs(5),
            deadline: Duration::from_secs(2),
            probe: Box::new(move || Box::pin(probe())),
            last: ArcSwapOption::empty(),
        }
    }

    /// The same with another pause between one check and the next.
    pub fn every(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// The same with another deadline.
    pub fn within(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    pub(crate) fn status(&self) -> CheckStatus {
        match self.last.load().as_deref() {
            None => CheckStatus::Unknown,
            Some(last) if last.healthy => CheckStatus::Healthy,
            Some(_) => CheckStatus::Unhealthy,
        }
    }

    pub(crate) fn report(&self) -> CheckReport {
        let last = self.last.load();
        CheckReport {
            name: self.name.clone(),
            status: self.status(),
            latency_ms: last.as_deref().map(|last| millis(last.latency)),
            age_ms: last.as_deref().map(|last| millis(last.at.elapsed())),
        }
    }

    /// Runs the probe once, and logs when its result is another one than before.
    pub(crate) async fn run(&self) {
        let began = Instant::now();
        let probe = AssertUnwindSafe(async { (self.probe)().await }).catch_unwind();
        let result = match tokio::time::timeout(self.deadline, probe).await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => Err(Error::internal(format!("the check panicked: {}", panic_message(&*panic)))),
            Err(_) => Err(Error::timeout("the check took longer than its deadline")),
        };
        let before = self.status();
        let last = Last { at: Instant::now(), latency: began.elapsed(), healthy: result.is_ok() };
        self.last.store(Some(Arc::new(last)));
        match result {
            Err(error) if before != CheckStatus::Unhealthy => {
                tracing::warn!(check.name = self.name, error = ?error, "health check {} fails", self.name);
            }
            Ok(()) if before == CheckStatus::Unhealthy => {
                tracing::info!(check.name = self.name, "health check {} succeeds again", self.name);
            }
            _ => {}
        }
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Check").field("name", &self.name).field("status", &self.status()).finish()
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
