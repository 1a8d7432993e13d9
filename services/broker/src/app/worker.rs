use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use sker_api::{Ctx, Store};
use sker_bus::Bus;
use sker_cache::RealtimeLog;
use sker_proto::store::ReleaseTasksRequest;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::{JoinError, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    metrics::BrokerMetrics,
    reporter::Destinations,
    running::{RunningTasks, StopReason},
    session::Session,
};
use crate::engines::EngineSet;

/// How a worker works.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// Tasks that run at a time.
    pub slots: usize,
    /// How long a claim lives without being renewed.
    pub lease: Duration,
    /// About how long slots are free with no message in sight before the store is asked for work.
    pub steal: Duration,
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
    store_answers: watch::Sender<bool>,
    /// Whether the last claim failed: the first one that does is told of.
    pub(super) claims_fail: AtomicBool,
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
            destinations: Destinations { store, bus, log, text_lost: AtomicBool::new(false) },
            running: Arc::default(),
            metrics,
            store_answers: watch::Sender::new(false),
            claims_fail: AtomicBool::new(false),
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

    /// Waits for a free slot, and says how many there are. Only who takes work takes slots: they stay free.
    pub(super) async fn free_slot(&self) -> usize {
        // Closed never.
        drop(self.slots.acquire().await);
        self.slots.available_permits()
    }

    /// Takes a slot.
    pub(super) async fn slot(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.slots).acquire_owned().await.ok()
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
            // The end of the session gives back their claims, or their leases run out.
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
        self.options.slots.saturating_sub(self.running.len())
    }

    /// This run's id, as the store knows it.
    pub fn session_id(&self) -> String {
        self.session.id().to_string()
    }

    /// Whether the store answered when it was last asked; not before it was.
    pub fn store_answers(&self) -> bool {
        *self.store_answers.borrow()
    }

    /// Notes whether the store answered. The first time that it did not, the lease keeper is woken to ask again: one answer
    /// that was lost is no outage.
    pub fn note_store(&self, answers: bool) {
        let is_news = self.store_answers.send_if_modified(|known| std::mem::replace(known, answers) != answers);
        if is_news && !answers {
            self.running.doubt.notify_one();
        }
    }

    /// Waits until the store answers. The lease keeper asks all the time.
    pub async fn until_store_answers(&self) {
        // The sender lives in `self`.
        let _ = self.store_answers.subscribe().wait_for(|answers| *answers).await;
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

/// The run's task is not lost: without its broker's care the lease runs out.
pub(super) fn note_panic(run: std::result::Result<(), JoinError>) {
    if run.is_err_and(|error| error.is_panic()) {
        tracing::error!("a run of a task panicked outside its engine");
    }
}
