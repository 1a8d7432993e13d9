use std::sync::Arc;

use serde::Serialize;
use sker_bus::topology::{DEAD_LETTER_QUEUE, RESULT_NOTIFY_QUEUE, WORK_QUEUES};
use sker_types::Uuid;
use utoipa::ToSchema;

use super::worker::Broker;

/// What an administrator sees of a broker.
#[derive(Clone)]
pub struct Overview {
    broker: Arc<Broker>,
}

/// A queue.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct QueueView {
    /// Its name.
    pub name: &'static str,
    /// Messages that wait in it; `null` when that cannot be known.
    pub depth: Option<u64>,
    /// The share of attention that it gets while all queues have work; `null` for queues without workers.
    pub weight: Option<u32>,
}

/// A worker: one run of a broker.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct WorkerView {
    /// The id of its session.
    pub session_id: String,
    /// Tasks that it runs at a time at most.
    pub slots: usize,
    /// How many of these are free.
    pub free_slots: usize,
    /// Tasks that it is running.
    pub running: usize,
    /// Whether it reaches the message bus. Without it there is only work that it finds by asking the store.
    pub bus_connected: bool,
    /// Whether the store answered when it was last asked.
    pub store_answers: bool,
    /// Tasks that it has claimed.
    pub claimed: u64,
    /// How many of these it found by asking the store, without a message.
    pub stolen: u64,
    /// The engines that it has.
    pub engines: Vec<&'static str>,
    /// How long it has been running.
    pub uptime_ms: u64,
}

/// A task that is running.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RunningView {
    /// Its id.
    pub id: Uuid,
    /// Its project.
    pub project_id: Option<Uuid>,
    /// Its user.
    pub user_id: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its priority.
    pub priority: String,
    /// Who works on it; empty before one is chosen.
    pub engine: &'static str,
    /// Which attempt this is.
    pub attempt: u32,
    /// The lease epoch of the claim.
    pub lease_epoch: u64,
    /// 0 to 100.
    pub progress: u8,
    /// How long ago it was claimed.
    pub running_ms: u64,
    /// The worker that runs it.
    pub session_id: String,
}

impl Overview {
    /// An overview of one broker.
    pub fn new(broker: Arc<Broker>) -> Self {
        Overview { broker }
    }

    /// The queues.
    pub async fn queues(&self) -> Vec<QueueView> {
        let work = WORK_QUEUES.iter().map(|(name, weight)| (*name, Some(*weight)));
        let others = [RESULT_NOTIFY_QUEUE, DEAD_LETTER_QUEUE].map(|name| (name, None));
        let views = work.chain(others).map(|(name, weight)| async move {
            QueueView { name, depth: self.broker.bus().depth(name).await, weight }
        });
        futures::future::join_all(views).await
    }

    /// The workers of this process: one.
    pub fn workers(&self) -> Vec<WorkerView> {
        let broker = &self.broker;
        vec![WorkerView {
            session_id: broker.session_id(),
            slots: broker.options().slots,
            free_slots: broker.free_slots(),
            running: broker.running().len(),
            bus_connected: broker.bus().is_healthy(),
            store_answers: broker.store_answers(),
            claimed: broker.metrics().claims.get(),
            stolen: broker.metrics().stolen.get(),
            engines: broker.engines().names().collect(),
            uptime_ms: u64::try_from(broker.since().elapsed().as_millis()).unwrap_or(u64::MAX),
        }]
    }

    /// The running tasks, the oldest first.
    pub fn tasks(&self) -> Vec<RunningView> {
        let mut running = self.broker.running().all();
        running.sort_by_key(|task| (task.since, task.id));
        running
            .iter()
            .map(|task| RunningView {
                id: task.id,
                project_id: task.project_id,
                user_id: task.user_id.clone(),
                kind: task.kind.clone(),
                priority: task.priority.clone(),
                engine: task.engine(),
                attempt: task.attempt,
                lease_epoch: task.epoch,
                progress: task.percent(),
                running_ms: u64::try_from(task.since.elapsed().as_millis()).unwrap_or(u64::MAX),
                session_id: self.broker.session_id(),
            })
            .collect()
    }
}
