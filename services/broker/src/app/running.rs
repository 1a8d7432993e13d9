use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use dashmap::{DashMap, Entry};
use sker_proto::store::{Lease, Task};
use sker_types::Uuid;
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

/// Why a running task is stopped from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// Its user cancelled it.
    Cancelled,
    /// The store says that its time is up.
    TimedOut,
    /// Another broker has it, or it is finished.
    Taken,
    /// The store was not reached for so long that another broker must be thought to have it.
    CutOff,
    /// This broker stops and could not finish it.
    Draining,
}

impl StopReason {
    /// The reason that the store gives for a lost lease.
    pub fn of_lost_lease(reason: &str) -> Self {
        match reason {
            "cancelled" => StopReason::Cancelled,
            "timeout" => StopReason::TimedOut,
            _ => StopReason::Taken,
        }
    }
}

/// A task that this broker holds a claim on.
#[derive(Debug)]
pub struct Running {
    /// The task.
    pub id: Uuid,
    /// Its project.
    pub project_id: Option<Uuid>,
    /// Its type.
    pub kind: String,
    /// The user that it belongs to.
    pub user_id: String,
    /// Its priority.
    pub priority: String,
    /// Which attempt this is.
    pub attempt: u32,
    /// Fences everything that is done under the claim.
    pub epoch: u64,
    /// When it was claimed.
    pub since: Instant,
    /// When the store last said that the claim holds, in milliseconds after `since`.
    renewed_ms: AtomicU64,
    worked: AtomicBool,
    percent: AtomicU8,
    engine: OnceLock<&'static str>,
    stop: CancellationToken,
    reason: OnceLock<StopReason>,
}

impl Running {
    /// A task that was just claimed; `None` when its id is none.
    pub fn new(task: &Task) -> Option<Self> {
        Some(Running {
            id: sker_types::parse_id(&task.id)?,
            project_id: sker_types::parse_id(&task.project_id),
            kind: task.r#type.clone(),
            user_id: task.user_id.clone(),
            priority: task.priority.clone(),
            attempt: task.attempts,
            epoch: task.lease_epoch,
            since: Instant::now(),
            renewed_ms: AtomicU64::new(0),
            worked: AtomicBool::new(false),
            percent: AtomicU8::new(0),
            engine: OnceLock::new(),
            stop: CancellationToken::new(),
            reason: OnceLock::new(),
        })
    }

    /// The claim, as the store knows it.
    pub fn lease(&self) -> Lease {
        Lease { task_id: self.id.to_string(), lease_epoch: self.epoch }
    }

    /// Stops the task. The first reason counts.
    pub fn stop(&self, reason: StopReason) {
        let _ = self.reason.set(reason);
        self.stop.cancel();
    }

    /// Waits until the task is stopped, and says why.
    pub async fn stopped(&self) -> StopReason {
        self.stop.cancelled().await;
        self.stop_reason().unwrap_or(StopReason::Taken)
    }

    /// Why the task was stopped, if it was.
    pub fn stop_reason(&self) -> Option<StopReason> {
        self.reason.get().copied()
    }

    /// Cancelled when the task is stopped.
    pub fn token(&self) -> &CancellationToken {
        &self.stop
    }

    /// Notes that the claim held when the store was asked at `asked`.
    pub fn set_renewed(&self, asked: Instant) {
        let millis = asked.saturating_duration_since(self.since).as_millis();
        self.renewed_ms.fetch_max(u64::try_from(millis).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// For how long nobody has said that the claim holds.
    pub fn unrenewed(&self) -> Duration {
        self.since.elapsed().saturating_sub(Duration::from_millis(self.renewed_ms.load(Ordering::Relaxed)))
    }

    /// Notes that its engine is done and only the store has to hear of it.
    pub fn set_worked(&self) {
        self.worked.store(true, Ordering::Relaxed);
    }

    /// Whether its engine is done.
    pub fn has_worked(&self) -> bool {
        self.worked.load(Ordering::Relaxed)
    }

    /// Notes how far it is.
    pub fn set_percent(&self, percent: u8) {
        self.percent.fetch_max(percent, Ordering::Relaxed);
    }

    /// How far it is.
    pub fn percent(&self) -> u8 {
        self.percent.load(Ordering::Relaxed)
    }

    /// Notes who works on it.
    pub fn set_engine(&self, engine: &'static str) {
        let _ = self.engine.set(engine);
    }

    /// Who works on it; empty before one is chosen.
    pub fn engine(&self) -> &'static str {
        self.engine.get().copied().unwrap_or_default()
    }
}

/// How many cancellations of tasks that are not here are remembered.
const MOST_UNMATCHED: usize = 1024;

/// The tasks that this broker holds.
#[derive(Debug, Default)]
pub struct RunningTasks {
    tasks: DashMap<Uuid, Arc<Running>>,
    /// Cancellations of tasks that were not here: the answer to a claim may still be under way.
    unmatched: DashMap<Uuid, ()>,
    /// Wakes the lease keeper.
    pub(super) doubt: Notify,
}

impl RunningTasks {
    /// Notes a claim, and says whether it is a new one: a claim that is known already changes nothing. An earlier claim of
    /// the same task that is still at work here was lost meanwhile; its run ends. If the task's cancellation was heard
    /// before, the lease keeper is woken to ask the store what holds; the cancellation may have been of an earlier run.
    pub fn insert(&self, running: Arc<Running>) -> bool {
        let id = running.id;
        match self.tasks.entry(id) {
            Entry::Occupied(known) if known.get().epoch >= running.epoch => return false,
            Entry::Occupied(mut known) => known.insert(running).stop(StopReason::Taken),
            Entry::Vacant(place) => {
                place.insert(running);
            }
        }
        if self.unmatched.remove(&id).is_some() {
            self.doubt.notify_one();
        }
        true
    }

    /// Forgets a claim, but not a later one of the same task.
    pub fn remove(&self, running: &Arc<Running>) {
        self.tasks.remove_if(&running.id, |_, known| Arc::ptr_eq(known, running));
    }

    /// The claim on a task.
    pub fn get(&self, id: Uuid) -> Option<Arc<Running>> {
        self.tasks.get(&id).map(|entry| Arc::clone(&entry))
    }

    /// Stops a task that was cancelled, if it is here.
    pub fn cancel(&self, id: Uuid) {
        if let Some(running) = self.get(id) {
            return running.stop(StopReason::Cancelled);
        }
        if self.unmatched.len() >= MOST_UNMATCHED {
            self.unmatched.clear();
        }
        self.unmatched.insert(id, ());
        // It may have been inserted in between.
        if self.tasks.contains_key(&id) {
            self.doubt.notify_one();
        }
    }

    /// All claims.
    pub fn all(&self) -> Vec<Arc<Running>> {
        self.tasks.iter().map(|entry| Arc::clone(&entry)).collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }
}
