use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Instant,
};

use arc_swap::{ArcSwap, ArcSwapOption};
use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    check::{Check, CheckReport, CheckStatus, Criticality, millis},
    tasks::{Policy, TaskSet},
};

const STARTING: u8 = 0;
const STARTED: u8 = 1;
const DRAINING: u8 = 2;

/// How a service is, from what its checks found last. Reading it never waits for anything.
#[derive(Debug)]
pub struct Health {
    service: &'static str,
    version: &'static str,
    since: Instant,
    phase: AtomicU8,
    draining: CancellationToken,
    unwell: ArcSwapOption<String>,
    checks: ArcSwap<Vec<Arc<Check>>>,
    ready: watch::Sender<bool>,
}

/// The overall state in `/health`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    /// All is well.
    Healthy,
    /// Something it depends on is not well.
    Degraded,
    /// This process itself is not well.
    Unhealthy,
}

/// The answer of `/health`.
#[derive(Clone, Debug, Serialize)]
pub struct HealthReport {
    /// The overall state.
    pub status: HealthStatus,
    /// Which service this is.
    pub service: &'static str,
    /// Its version.
    pub version: &'static str,
    /// How long it has been running.
    pub uptime_ms: u64,
    /// What it depends on.
    pub checks: Vec<CheckReport>,
}

impl Health {
    /// The health of a service that is starting.
    pub fn new(service: &'static str, version: &'static str) -> Arc<Self> {
        Arc::new(Health {
            service,
            version,
            since: Instant::now(),
            phase: AtomicU8::new(STARTING),
            draining: CancellationToken::new(),
            unwell: ArcSwapOption::empty(),
            checks: ArcSwap::default(),
            ready: watch::Sender::new(false),
        })
    }

    /// Begins to watch a dependency, in a background task of its own.
    pub fn register(self: &Arc<Self>, tasks: &TaskSet, check: Check) {
        let check = Arc::new(check);
        self.checks.rcu(|checks| checks.iter().cloned().chain([Arc::clone(&check)]).collect::<Vec<_>>());
        self.update();
        let health = Arc::clone(self);
        tasks.spawn(format!("health:{}", check.name), Policy::Restart, move |token| {
            let (check, health) = (Arc::clone(&check), Arc::clone(&health));
            async move {
                while token.run_until_cancelled(check.run()).await.is_some() {
                    health.update();
                    if token.run_until_cancelled(tokio::time::sleep(check.interval)).await.is_none() {
                        break;
                    }
                }
            }
        });
    }

    /// The service has started: it is ready as soon as what it requires is.
    pub fn set_started(&self) {
        let from_starting = self.phase.compare_exchange(STARTING, STARTED, Ordering::AcqRel, Ordering::Acquire);
        if from_starting.is_ok() {
            self.update();
        }
    }

    /// The service is going to stop: it is not ready any more, and never again.
    pub fn set_draining(&self) {
        self.phase.store(DRAINING, Ordering::Release);
        self.draining.cancel();
        self.update();
    }

    /// Cancelled when the service is going to stop. What lives as long as its client does (an event stream, a watch) ends
    /// itself then; nothing else would before the drain's limit.
    pub fn draining(&self) -> CancellationToken {
        self.draining.clone()
    }

    /// This process itself is not well, for example because its disk is full; `None` when it is again.
    pub fn set_unwell(&self, reason: Option<String>) {
        if let Some(reason) = &reason {
            tracing::error!(reason, "the service is unwell");
        }
        self.unwell.store(reason.map(Arc::new));
        self.update();
    }

    /// Whether the service can do its work now.
    pub fn ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Follows [`Health::ready`].
    pub fn watch_ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    /// Waits until the service is ready.
    pub async fn until_ready(&self) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.ready.subscribe().wait_for(|ready| *ready).await;
    }

    /// Why the service is not ready, for `/ready`.
    pub(crate) fn obstacles(&self) -> Vec<String> {
        let phase = match self.phase.load(Ordering::Acquire) {
            STARTING => Some("starting".to_owned()),
            DRAINING => Some("draining".to_owned()),
            _ => None,
        };
        let unwell = self.unwell.load().as_ref().map(|_| "unwell".to_owned());
        let checks = self.checks.load();
        let missing = checks.iter().filter(|check| is_missing(check)).map(|check| check.name.clone());
        phase.into_iter().chain(unwell).chain(missing).collect()
    }

    /// What is known now.
    pub fn report(&self) -> HealthReport {
        let checks: Vec<CheckReport> = self.checks.load().iter().map(|check| check.report()).collect();
        let status = if self.unwell.load().is_some() {
            HealthStatus::Unhealthy
        } else if checks.iter().any(|check| check.status == CheckStatus::Unhealthy) {
            HealthStatus::Degraded
        } else {
            HealthStatus::Healthy
        };
        HealthReport {
            status,
            service: self.service,
            version: self.version,
            uptime_ms: millis(self.since.elapsed()),
            checks,
        }
    }

    fn update(&self) {
        // Computed under the channel's lock: of two that update at once, the later one sees what the earlier one saw.
        self.ready.send_if_modified(|ready| {
            let now = self.obstacles().is_empty();
            std::mem::replace(ready, now) != now
        });
    }
}

fn is_missing(check: &Check) -> bool {
    check.criticality == Criticality::Required && check.status() != CheckStatus::Healthy
}
