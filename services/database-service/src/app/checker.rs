use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use sker_types::{Time, new_id, now};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

use super::{
    Condition, Depth, Driver, Failure, HISTORY_LENGTH, Journal, Observation, ProbeError, Record, Remembered, Share,
    Status, Step, Target, Thresholds, Tracker, Uptime,
    link::{Link, Reuse},
};

/// When a target is checked, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Intervals {
    /// Between the checks of a target that is well.
    pub usual: Duration,
    /// Between the checks of one that is suspect or down.
    pub close: Duration,
    /// Between deep checks of a target that is well.
    pub deep: Duration,
    /// The most a check may take.
    pub deadline: Duration,
    /// What decides.
    pub thresholds: Thresholds,
}

/// Watches one target. At most one connection to it is open at a time, whoever asks.
pub struct Checker {
    target: Target,
    link: Link,
    intervals: Intervals,
    permit: Semaphore,
    seen: ArcSwap<Seen>,
}

/// What the checks of a target have found so far.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub tracker: Tracker,
    pub last: Option<Last>,
    pub observation: Option<Observation>,
    pub latency_when_well: Option<Duration>,
    pub records: VecDeque<Record>,
    pub uptime: Uptime,
    deep_at: Option<Instant>,
}

/// What a check has just found.
struct Found {
    result: Result<Observation, Failure>,
    latency: Duration,
    depth: Depth,
}

/// What a check has changed.
struct Taken {
    record: Record,
    tracker: Tracker,
    hour: (i64, Share),
}

/// The last check.
#[derive(Clone, Debug)]
pub(super) struct Last {
    pub at: Instant,
    pub checked_at: Time,
    pub latency: Duration,
    pub error: Option<ProbeError>,
}

impl Checker {
    /// Goes on from what is remembered.
    pub fn new(target: Target, driver: Arc<dyn Driver>, intervals: Intervals, remembered: Remembered) -> Self {
        let seen = Seen {
            tracker: remembered.tracker.unwrap_or_else(|| Tracker::new(now())),
            last: None,
            observation: None,
            latency_when_well: None,
            records: remembered.records.into(),
            uptime: Uptime::new(remembered.hours),
            deep_at: None,
        };
        Checker {
            target,
            link: Link::new(driver),
            intervals,
            permit: Semaphore::new(1),
            seen: ArcSwap::from_pointee(seen),
        }
    }

    /// The target.
    pub fn target(&self) -> &Target {
        &self.target
    }

    pub(super) fn seen(&self) -> Arc<Seen> {
        self.seen.load_full()
    }

    /// Whether a check or a test is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.permit.available_permits() == 0
    }

    /// Whether a connection is kept for the next check.
    pub(super) fn is_connected(&self) -> bool {
        self.link.is_open()
    }

    /// Connections opened, and attempts that failed.
    pub fn connections(&self) -> (u64, u64) {
        self.link.counts()
    }

    /// Checks the target again and again until the token is cancelled. `after` hears of every check.
    pub async fn run(&self, journal: &dyn Journal, token: CancellationToken, after: impl Fn(&Record)) {
        self.watch(journal, &token, after).await;
        self.link.close().await;
    }

    async fn watch(&self, journal: &dyn Journal, token: &CancellationToken, after: impl Fn(&Record)) {
        loop {
            // A check is given up when the service stops, but one that was made is written down.
            let Some(found) = token.run_until_cancelled(self.look()).await else { return };
            let taken = self.take_in(found);
            after(&taken.record);
            self.write_down(&taken, journal).await;
            let pause =
                if self.seen.load().tracker.needs_close_watch() { self.intervals.close } else { self.intervals.usual };
            if token.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    async fn look(&self) -> Found {
        let depth = self.seen.load().depth_due(self.intervals.deep);
        // Turns are taken in order and each has a deadline, so this one comes.
        let _turn = self.permit.acquire().await;
        // A deep check also shows that one can still sign in.
        let reuse = if depth == Depth::Deep { Reuse::No } else { Reuse::Yes };
        let (result, latency) = self.link.look(&self.target, depth, reuse, self.intervals.deadline).await;
        Found { result, latency, depth }
    }

    /// Only [`Checker::run`] calls it, so that no two results are taken in at once.
    fn take_in(&self, found: Found) -> Taken {
        let before = self.seen.load_full();
        let (seen, taken) = before.with(&self.target, found, &self.intervals);
        if before.tracker.condition != seen.tracker.condition {
            self.tell(before.tracker.condition, &seen, taken.record.error.as_ref());
        }
        self.seen.store(Arc::new(seen));
        taken
    }

    /// A journal that is away costs the memory of a restart, nothing else.
    async fn write_down(&self, Taken { record, tracker, hour }: &Taken, journal: &dyn Journal) {
        if let Err(error) = journal.record(&self.target, record, tracker, *hour).await {
            tracing::warn!(db.target = self.target.name, error = ?error, "a check is not written down");
        }
    }

    /// Waits for the one connection that may be open, but not for ever: many tests may be waiting.
    pub(super) async fn turn(&self, patience: Duration) -> Result<SemaphorePermit<'_>, Failure> {
        let busy = || Failure { step: Step::Resolve, message: "another check is still running".to_owned() };
        match tokio::time::timeout(patience, self.permit.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(busy()),
        }
    }

    /// Connects anew, whether or not a connection is kept; the caller has the turn.
    pub(super) async fn test(&self) -> (Result<Observation, Failure>, Duration) {
        self.link.look(&self.target, Depth::Light, Reuse::No, self.intervals.deadline).await
    }

    fn tell(&self, before: Condition, seen: &Seen, error: Option<&ProbeError>) {
        let (name, kind) = (&self.target.name, self.target.kind);
        let error = error.map(|error| format!("{}: {}", error.step.as_str(), error.message)).unwrap_or_default();
        match seen.tracker.condition {
            Condition::Down => {
                tracing::error!(db.target = name, db.kind = %kind, db.error = error, "{kind} {name} is down");
            }
            Condition::Suspect => {
                tracing::warn!(db.target = name, db.kind = %kind, db.error = error, "{kind} {name} fails");
            }
            _ if before == Condition::Unknown => {
                tracing::info!(db.target = name, db.kind = %kind, "{kind} {name} is healthy");
            }
            _ => tracing::info!(db.target = name, db.kind = %kind, "{kind} {name} is healthy again"),
        }
    }
}

impl Seen {
    fn depth_due(&self, interval: Duration) -> Depth {
        let fresh = self.deep_at.is_some_and(|at| at.elapsed() < interval);
        if fresh && self.tracker.condition == Condition::Healthy { Depth::Light } else { Depth::Deep }
    }

    fn with(&self, target: &Target, Found { result, latency, depth }: Found, intervals: &Intervals) -> (Seen, Taken) {
        let mut seen = self.clone();
        let (at, checked_at) = (Instant::now(), now());
        // The time since the last check was like that check; time in which this process did not run is nobody's.
        let passed = self.last.as_ref().map_or(Duration::ZERO, |last| at.duration_since(last.at));
        let passed = passed.min(intervals.usual * 2);
        let was_up = self.last.as_ref().is_none_or(|last| last.error.is_none());
        let hour = seen.uptime.add(checked_at, passed, was_up);
        let error = match result {
            Ok(mut observation) => {
                // A light check has fewer figures; those of the last deep one still hold.
                if depth == Depth::Light
                    && let Some(last) = &self.observation
                {
                    for (name, value) in &last.details {
                        observation.details.entry(name.clone()).or_insert_with(|| value.clone());
                    }
                }
                seen.observation = Some(observation);
                seen.latency_when_well = Some(latency);
                None
            }
            Err(failure) => Some(ProbeError::from(failure)),
        };
        if depth == Depth::Deep {
            seen.deep_at = Some(at);
        }
        seen.tracker.observe(error.is_none(), checked_at, intervals.thresholds);
        let record = Record {
            id: new_id(),
            target: target.name.clone(),
            checked_at,
            success: error.is_none(),
            status: Status::from(seen.tracker.condition),
            latency_ms: millis(latency),
            error: error.clone(),
        };
        seen.last = Some(Last { at, checked_at, latency, error });
        seen.records.push_back(record.clone());
        while seen.records.len() > HISTORY_LENGTH {
            seen.records.pop_front();
        }
        let tracker = seen.tracker.clone();
        (seen, Taken { record, tracker, hour })
    }
}

/// Milliseconds with three decimals.
pub(super) fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

#[cfg(test)]
mod tests;
