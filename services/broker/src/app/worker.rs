use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sker_api::{Ctx, Store};
use sker_bus::{Bus, Delivery};
use sker_cache::RealtimeLog;
use sker_error::Result;
use sker_proto::store::{ClaimTasksRequest, ClaimTasksResponse, ReleaseTasksRequest};
use sker_types::{TaskWake, Uuid};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{JoinError, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    intake::Intake,
    metrics::BrokerMetrics,
    reporter::Destinations,
    runner::{Claimed, store_backoff},
    running::{Running, RunningTasks, StopReason},
    session::Session,
};
use crate::engines::EngineSet;

/// Tasks that are claimed with one call at most.
const MOST_CLAIMS: usize = 64;
/// How long a claim may take.
const CLAIM_DEADLINE: Duration = Duration::from_secs(10);

/// How a worker works.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// Tasks that run at a time.
    pub slots: usize,
    /// How long a claim lives without being renewed.
    pub lease: Duration,
    /// How long a task may take that says nothing about it.
    pub task_timeout: Duration,
    /// How long running tasks may take to end when the broker stops; the rest is given back.
    pub drain: Duration,
    /// How long giving back may take after that. With it the broker is gone, whether or not the store has answered.
    pub farewell: Duration,
}

/// A broker: claims tasks from the store as messages wake it, and runs them.
pub struct Broker {
    options: WorkerOptions,
    session: Arc<Session>,
    engines: EngineSet,
    destinations: Destinations,
    running: Arc<RunningTasks>,
    slots: Arc<Semaphore>,
    metrics: BrokerMetrics,
    store_answers: AtomicBool,
    since: Instant,
}

impl Broker {
    /// A broker that does nothing before [`Broker::work`].
    pub fn new(
        options: WorkerOptions,
        session: Arc<Session>,
        engines: EngineSet,
        (store, bus, log): (Arc<dyn Store>, Arc<dyn Bus>, Arc<dyn RealtimeLog>),
        metrics: BrokerMetrics,
    ) -> Self {
        Broker {
            slots: Arc::new(Semaphore::new(options.slots)),
            options,
            session,
            engines,
            destinations: Destinations { store, bus, log },
            running: Arc::default(),
            metrics,
            store_answers: AtomicBool::new(true),
            since: Instant::now(),
        }
    }

    /// Takes work until `stop`; then lets what runs finish within the bound, and gives the rest back.
    pub async fn work(self: Arc<Self>, stop: CancellationToken) {
        let mut runs = JoinSet::new();
        let stopped = async {
            stop.cancelled().await;
            Instant::now()
        };
        // Everything that is bounded from here on is bounded by when the stop came.
        let ((), stopped) = tokio::join!(self.take_work(&mut runs, &stop), stopped);
        let (finish_by, call) = (stopped + self.options.drain, self.options.farewell / 2);
        self.drain(runs, finish_by, finish_by + call).await;
        self.end_session((Instant::now() + call).min(finish_by + self.options.farewell)).await;
    }

    async fn take_work(self: &Arc<Self>, runs: &mut JoinSet<()>, stop: &CancellationToken) {
        let prefetch = u16::try_from(self.options.slots).unwrap_or(u16::MAX);
        // Dropped at the end: what was prefetched goes back to the queues.
        let mut intake = Intake::new(Arc::clone(&self.destinations.bus), prefetch);
        loop {
            while let Some(run) = runs.try_join_next() {
                note_panic(run);
            }
            let Some(first) = stop.run_until_cancelled(self.slot()).await else { return };
            let most = (1 + self.slots.available_permits()).min(MOST_CLAIMS);
            let Some(batch) = stop.run_until_cancelled(intake.next_batch(most)).await else { return };
            // Not cut short by the stop: a claim that is under way would be ours without our knowing.
            let claimed = self.claim(batch, stop).await;
            let mut permits = Permits { first: Some(first), slots: &self.slots };
            for claimed in claimed {
                let (broker, permit) = (Arc::clone(self), permits.next().await);
                runs.spawn(async move {
                    broker.run_claimed(claimed).await;
                    drop(permit);
                });
            }
        }
    }

    async fn slot(&self) -> Option<OwnedSemaphorePermit> {
        // Closed never.
        Arc::clone(&self.slots).acquire_owned().await.ok()
    }

    /// Claims what the messages name. While the store is away nothing else is taken: the consumer pauses.
    async fn claim(&self, batch: Vec<Delivery>, stop: &CancellationToken) -> Vec<Claimed> {
        let mut deliveries = self.readable(batch).await;
        if deliveries.is_empty() {
            return Vec::new();
        }
        let mut ids: Vec<String> = deliveries.keys().map(Uuid::to_string).collect();
        ids.sort_unstable();
        // Without an answer the messages go back to their queues.
        let Some(answer) = self.claim_until_answered(ids, stop).await else { return Vec::new() };
        let mut claimed = Vec::with_capacity(answer.tasks.len());
        for task in answer.tasks {
            let Some(running) = Running::new(&task).map(Arc::new) else { continue };
            let Some(delivery) = deliveries.remove(&running.id) else { continue };
            self.running.insert(Arc::clone(&running));
            self.metrics.running.inc();
            claimed.push(Claimed { task, running, delivery });
        }
        // The rest is finished, held by another, or not due: the store wakes somebody when there is something to do.
        for unclaimed in answer.unclaimed {
            tracing::debug!(task.id = unclaimed.id, reason = unclaimed.reason, "nothing to do for a message");
        }
        for delivery in deliveries.into_values() {
            settle(delivery.ack().await);
        }
        claimed
    }

    /// The deliveries by task; what cannot be read becomes a dead letter, and a second message of a task is not needed.
    async fn readable(&self, batch: Vec<Delivery>) -> HashMap<Uuid, Delivery> {
        let mut deliveries = HashMap::with_capacity(batch.len());
        for delivery in batch {
            match delivery.message.parse::<TaskWake>() {
                Ok(wake) => {
                    if let Some(second) = deliveries.insert(wake.task_id, delivery) {
                        settle(second.ack().await);
                    }
                }
                Err(error) => {
                    tracing::warn!(message.id = %delivery.message.id, error = %error, "a work message cannot be read");
                    self.metrics.malformed.with_label_values(&["work"]).inc();
                    settle(delivery.reject().await);
                }
            }
        }
        deliveries
    }

    async fn claim_until_answered(&self, ids: Vec<String>, stop: &CancellationToken) -> Option<ClaimTasksResponse> {
        let request = ClaimTasksRequest {
            ids,
            limit: 0,
            session_id: self.session_id(),
            lease_ms: u64::try_from(self.options.lease.as_millis()).unwrap_or(u64::MAX),
        };
        let mut failures = 0;
        loop {
            let ctx = Ctx::service("broker").within(CLAIM_DEADLINE);
            let call = ctx.bound(self.store().claim_tasks(&ctx, request.clone()));
            let answer = tokio::select! {
                biased;
                answer = call => answer,
                // Too late to run anything; what was claimed is given back with the session.
                () = drained(stop, self.options.drain) => return None,
            };
            match answer {
                Ok(answer) => {
                    self.note_store(true);
                    return Some(answer);
                }
                Err(error) => {
                    self.note_store(false);
                    if failures == 0 {
                        tracing::warn!(error = %error, "tasks cannot be claimed, trying on");
                    }
                }
            }
            stop.run_until_cancelled(tokio::time::sleep(store_backoff().delay(failures))).await?;
            failures = failures.saturating_add(1);
        }
    }

    async fn drain(&self, mut runs: JoinSet<()>, finish_by: Instant, give_back_by: Instant) {
        let all = async {
            while let Some(run) = runs.join_next().await {
                note_panic(run);
            }
        };
        if tokio::time::timeout_at(finish_by, all).await.is_ok() {
            return;
        }
        let unfinished = self.running.all();
        tracing::info!(tasks = unfinished.len(), "giving back what is not finished");
        unfinished.iter().for_each(|running| running.stop(StopReason::Draining));
        let all = async { while runs.join_next().await.is_some() {} };
        if tokio::time::timeout_at(give_back_by, all).await.is_err() {
            // Dropping them puts their messages back; the end of the session gives back their claims.
            tracing::warn!(tasks = runs.len(), "the store does not take back what is not finished");
        }
    }

    /// Gives back whatever the store still counts as ours, for example claims whose answer never came.
    async fn end_session(&self, until: Instant) {
        let ctx = Ctx::service("broker").within(until.saturating_duration_since(Instant::now()));
        let request = ReleaseTasksRequest { session_id: self.session_id(), leases: Vec::new() };
        if let Err(error) = ctx.bound(self.store().release_tasks(&ctx, request)).await {
            tracing::debug!(error = %error, "the session could not be ended; its leases will run out");
        }
    }

    /// The options.
    pub fn options(&self) -> &WorkerOptions {
        &self.options
    }

    /// What is running.
    pub fn running(&self) -> &Arc<RunningTasks> {
        &self.running
    }

    /// The engines.
    pub fn engines(&self) -> &EngineSet {
        &self.engines
    }

    /// When it was made.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Slots that are free.
    pub fn free_slots(&self) -> usize {
        // Not the permits: one of them is held ready for the next message.
        self.options.slots.saturating_sub(self.running.len())
    }

    /// This run's id, as the store knows it.
    pub fn session_id(&self) -> String {
        self.session.id().to_string()
    }

    /// Whether the store answered when it was last asked.
    pub fn store_answers(&self) -> bool {
        self.store_answers.load(Ordering::Relaxed)
    }

    /// Notes whether the store answered.
    pub fn note_store(&self, answers: bool) {
        self.store_answers.store(answers, Ordering::Relaxed);
    }

    pub(super) fn store(&self) -> &dyn Store {
        &*self.destinations.store
    }

    pub(super) fn bus(&self) -> &dyn Bus {
        &*self.destinations.bus
    }

    pub(super) fn destinations(&self) -> &Destinations {
        &self.destinations
    }

    pub(super) fn metrics(&self) -> &BrokerMetrics {
        &self.metrics
    }
}

/// Passes when running tasks have had their time after a stop.
async fn drained(stop: &CancellationToken, drain: Duration) {
    stop.cancelled().await;
    tokio::time::sleep(drain).await;
}

/// Slots for a batch: the one that was waited for, then those that were free.
struct Permits<'a> {
    first: Option<Option<OwnedSemaphorePermit>>,
    slots: &'a Arc<Semaphore>,
}

impl Permits<'_> {
    async fn next(&mut self) -> Option<OwnedSemaphorePermit> {
        match self.first.take() {
            Some(first) => first,
            None => Arc::clone(self.slots).acquire_owned().await.ok(),
        }
    }
}

/// The run's task is not lost: without its broker's care the lease runs out.
fn note_panic(run: std::result::Result<(), JoinError>) {
    if run.is_err_and(|error| error.is_panic()) {
        tracing::error!("a run of a task panicked outside its engine");
    }
}

fn settle(outcome: Result<()>) {
    if let Err(error) = outcome {
        tracing::debug!(error = %error, "a message could not be settled; it comes again");
    }
}
