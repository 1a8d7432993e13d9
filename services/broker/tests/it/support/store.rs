use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::StreamExt;
use serde_json::{Value, json};
use sker_api::{Ctx, NodeStream, Store};
use sker_bus::{Bus, Message, topology};
use sker_error::{Error, Result};
use sker_proto::store::{
    AuthorizeChannelRequest, AuthorizeChannelResponse, CancelTaskRequest, CancelTaskResponse, ClaimTasksRequest,
    ClaimTasksResponse, CompleteTaskRequest, CompleteTaskResponse, CreateTaskRequest, CreateTaskResponse,
    FailTaskRequest, FailTaskResponse, GetNodesRequest, GetNodesResponse, Lease, LostLease, Node, ReleaseTasksRequest,
    ReleaseTasksResponse, RenewLeasesRequest, RenewLeasesResponse, ReportProgressRequest, ReportProgressResponse, Task,
    Unclaimed,
};
use sker_types::{DomainEvent, TaskWake, Uuid, event_type, new_id, now, parse_id};
use tokio::sync::watch;

/// A task as the store keeps it.
#[derive(Clone, Debug, Default)]
pub struct Row {
    pub task: Task,
    pub session: String,
    pub output: Option<Value>,
    pub failure: Option<FailTaskRequest>,
    pub progress: Vec<u32>,
    /// Every effect: the epochs under which it was completed or failed.
    pub effects: Vec<u64>,
    pub released: u32,
    /// Whether a claim without ids takes it: not while it waits for its next attempt.
    pub due: bool,
}

#[derive(Default)]
struct State {
    rows: BTreeMap<String, Row>,
    nodes: BTreeMap<String, Node>,
    released_sessions: Vec<String>,
    claim_order: Vec<String>,
}

/// The store, as far as brokers see it, with the rules of the contract: claims are fenced by epoch.
pub struct MemoryStore {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
    bus: Arc<dyn Bus>,
    pub project_id: String,
    /// Calls fail as if the store was away.
    pub away: AtomicBool,
    /// Claims, progress, endings and releases are never answered.
    pub hangs: AtomicBool,
    /// So many claims are committed and their answers lost.
    pub lost_answers: AtomicU32,
    /// Claims are committed, and answered when this is over.
    pub late: AtomicBool,
    /// Claims whose answers were late.
    pub late_answers: AtomicU32,
    /// Claims without ids.
    pub polls: AtomicU32,
    /// How many calls came while it was away.
    pub calls_while_away: AtomicU32,
    /// The task whose completion panics.
    poison: Mutex<Option<String>>,
}

impl MemoryStore {
    pub fn new(bus: Arc<dyn Bus>) -> Arc<Self> {
        Arc::new(MemoryStore {
            state: Mutex::default(),
            changes: watch::Sender::new(0),
            bus,
            project_id: new_id().to_string(),
            away: AtomicBool::new(false),
            hangs: AtomicBool::new(false),
            lost_answers: AtomicU32::new(0),
            late: AtomicBool::new(false),
            late_answers: AtomicU32::new(0),
            polls: AtomicU32::new(0),
            calls_while_away: AtomicU32::new(0),
            poison: Mutex::default(),
        })
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state.lock().unwrap());
        self.changes.send_modify(|version| *version += 1);
        result
    }

    /// From now on completing this task panics.
    pub fn panics_for(&self, id: &str) {
        *self.poison.lock().unwrap() = Some(id.to_owned());
    }

    async fn answer_or_hang(&self) -> Result<()> {
        if self.hangs.load(Ordering::SeqCst) {
            self.calls_while_away.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<()>().await;
        }
        self.answer()
    }

    fn answer(&self) -> Result<()> {
        if self.away.load(Ordering::SeqCst) {
            self.calls_while_away.fetch_add(1, Ordering::SeqCst);
            return Err(Error::unavailable("the store is away"));
        }
        Ok(())
    }

    pub fn add_node(&self, title: &str, content: &str) -> String {
        let id = new_id().to_string();
        let node = Node {
            id: id.clone(),
            project_id: self.project_id.clone(),
            title: title.to_owned(),
            content: content.to_owned(),
            ..Node::default()
        };
        self.with(|state| state.nodes.insert(id.clone(), node));
        id
    }

    /// Adds a task without waking anybody.
    pub fn add(&self, kind: &str, priority: &str, input: &Value) -> String {
        let id = new_id().to_string();
        let task = Task {
            id: id.clone(),
            project_id: self.project_id.clone(),
            user_id: new_id().to_string(),
            r#type: kind.to_owned(),
            status: "queued".to_owned(),
            priority: priority.to_owned(),
            input_json: input.to_string(),
            max_attempts: 3,
            ..Task::default()
        };
        self.with(|state| state.rows.insert(id.clone(), Row { task, due: true, ..Row::default() }));
        id
    }

    pub async fn wake(&self, id: &str) {
        assert!(self.try_wake(id).await, "the wake-up was not taken");
    }

    /// Sends a wake-up; says whether a queue has taken it.
    pub async fn try_wake(&self, id: &str) -> bool {
        self.with(|state| state.rows.get_mut(id).unwrap().due = true);
        let task = self.row(id).task;
        let (exchange, key) = topology::work_queue(&task.r#type, &task.priority);
        let wake =
            TaskWake { task_id: parse_id(id).unwrap(), kind: task.r#type.clone(), priority: task.priority.clone() };
        let message = Message::json("task.wake", "store", key, &wake).unwrap();
        self.bus.publish(exchange, vec![message]).await.is_ok_and(|refused| refused.is_empty())
    }

    pub async fn submit(&self, kind: &str, input: &Value) -> String {
        let id = self.add(kind, "normal", input);
        self.wake(&id).await;
        id
    }

    /// Cancels as a user would: the row, then the event.
    pub async fn cancel(&self, id: &str) {
        self.set_status(id, "cancelled");
        let event = DomainEvent {
            id: new_id(),
            kind: event_type::TASK_CANCELLED.to_owned(),
            aggregate_id: parse_id(id).unwrap(),
            channels: Vec::new(),
            time: now(),
            data: json!({}),
        };
        let message = Message::json(event_type::TASK_CANCELLED, "store", event_type::TASK_CANCELLED, &event).unwrap();
        self.bus.publish(topology::EVENTS_TOPIC, vec![message]).await.unwrap();
    }

    pub fn set_status(&self, id: &str, status: &str) {
        self.with(|state| state.rows.get_mut(id).unwrap().task.status = status.to_owned());
    }

    pub fn change(&self, id: &str, change: impl FnOnce(&mut Task)) {
        self.with(|state| change(&mut state.rows.get_mut(id).unwrap().task));
    }

    /// Another broker takes a claim over, as after a lease that ran out.
    pub fn take_over(&self, id: &str) {
        self.with(|state| {
            let row = state.rows.get_mut(id).unwrap();
            row.task.lease_epoch += 1;
            row.session = new_id().to_string();
        });
    }

    pub fn row(&self, id: &str) -> Row {
        self.state.lock().unwrap().rows[id].clone()
    }

    pub fn released_sessions(&self) -> Vec<String> {
        self.state.lock().unwrap().released_sessions.clone()
    }

    pub fn claim_order(&self) -> Vec<String> {
        self.state.lock().unwrap().claim_order.clone()
    }

    /// Waits until a row is as wanted.
    pub async fn until(&self, id: &str, what: &str, wanted: impl Fn(&Row) -> bool) -> Row {
        let mut changes = self.changes.subscribe();
        let found = tokio::time::timeout(Duration::from_secs(60), async {
            loop {
                let row = self.row(id);
                if wanted(&row) {
                    return row;
                }
                changes.changed().await.unwrap();
            }
        });
        found.await.unwrap_or_else(|_| panic!("waited in vain until the task {what}: {:?}", self.row(id)))
    }

    pub async fn until_status(&self, id: &str, status: &str) -> Row {
        self.until(id, status, |row| row.task.status == status).await
    }

    pub async fn until_session_released(&self, session: Uuid) {
        let mut changes = self.changes.subscribe();
        let session = session.to_string();
        let released = changes.wait_for(|_| self.released_sessions().contains(&session));
        tokio::time::timeout(Duration::from_secs(60), released).await.unwrap().unwrap();
    }
}

/// The row of a claim that still holds.
fn held<'a>(state: &'a mut State, lease: &Option<Lease>) -> Result<&'a mut Row> {
    let lease = lease.as_ref().ok_or_else(|| Error::invalid_request("no lease"))?;
    let row = state.rows.get_mut(&lease.task_id).ok_or_else(|| Error::not_found("task"))?;
    match row.task.lease_epoch == lease.lease_epoch && row.task.status == "processing" {
        true => Ok(row),
        false => Err(Error::conflict("the lease is lost")),
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn create_task(&self, _: &Ctx, _: CreateTaskRequest) -> Result<CreateTaskResponse> {
        Err(Error::forbidden("brokers create nothing"))
    }

    async fn cancel_task(&self, _: &Ctx, _: CancelTaskRequest) -> Result<CancelTaskResponse> {
        Err(Error::forbidden("brokers cancel nothing"))
    }

    async fn claim_tasks(&self, _: &Ctx, request: ClaimTasksRequest) -> Result<ClaimTasksResponse> {
        self.answer_or_hang().await?;
        let answer = self.with(|state| {
            let mut answer = ClaimTasksResponse::default();
            let mut ids = request.ids;
            if ids.is_empty() {
                self.polls.fetch_add(1, Ordering::SeqCst);
                let due = state.rows.iter().filter(|(_, row)| row.task.status == "queued" && row.due);
                ids = due.map(|(id, _)| id.clone()).take(request.limit as usize).collect();
            }
            for id in ids {
                match state.rows.get_mut(&id) {
                    Some(row) if row.task.status == "queued" => {
                        row.task.status = "processing".to_owned();
                        row.task.lease_epoch += 1;
                        row.task.attempts += 1;
                        row.session.clone_from(&request.session_id);
                        state.claim_order.push(id);
                        answer.tasks.push(row.task.clone());
                    }
                    // Asked again by whoever has it: the answer may have been lost.
                    Some(row) if row.task.status == "processing" && row.session == request.session_id => {
                        answer.tasks.push(row.task.clone());
                    }
                    Some(row) if row.task.status == "processing" => {
                        answer.unclaimed.push(Unclaimed { id, reason: "held".to_owned() });
                    }
                    _ => answer.unclaimed.push(Unclaimed { id, reason: "gone".to_owned() }),
                }
            }
            answer
        });
        if self.late.load(Ordering::SeqCst) {
            self.late_answers.fetch_add(1, Ordering::SeqCst);
        }
        while self.late.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let lost = self.lost_answers.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if lost.is_ok() {
            return Err(Error::unavailable("the connection was lost before the answer"));
        }
        Ok(answer)
    }

    async fn renew_leases(&self, _: &Ctx, request: RenewLeasesRequest) -> Result<RenewLeasesResponse> {
        // Of none it knows without looking.
        if !request.leases.is_empty() {
            self.answer()?;
        }
        let lost = self.with(|state| {
            let lost = request.leases.into_iter().filter_map(|lease| {
                let row = state.rows.get(&lease.task_id);
                let status = row.map_or("unknown", |row| row.task.status.as_str());
                let current = row.is_some_and(|row| row.task.lease_epoch == lease.lease_epoch);
                match status {
                    "processing" if current => None,
                    "cancelled" => Some(LostLease { task_id: lease.task_id, reason: "cancelled".to_owned() }),
                    _ => Some(LostLease { task_id: lease.task_id, reason: "taken".to_owned() }),
                }
            });
            lost.collect()
        });
        Ok(RenewLeasesResponse { lost })
    }

    async fn report_progress(&self, _: &Ctx, request: ReportProgressRequest) -> Result<ReportProgressResponse> {
        self.answer_or_hang().await?;
        self.with(|state| held(state, &request.lease).map(|row| row.progress.push(request.progress)))?;
        Ok(ReportProgressResponse {})
    }

    async fn complete_task(&self, _: &Ctx, request: CompleteTaskRequest) -> Result<CompleteTaskResponse> {
        self.answer_or_hang().await?;
        let poison = self.poison.lock().unwrap().clone();
        assert!(
            poison.is_none() || poison != request.lease.as_ref().map(|lease| lease.task_id.clone()),
            "told to panic"
        );
        self.with(|state| {
            let row = held(state, &request.lease)?;
            row.task.status = "completed".to_owned();
            row.output = Some(serde_json::from_str(&request.output_json).unwrap());
            row.effects.push(row.task.lease_epoch);
            Ok(CompleteTaskResponse { repeated_call: false })
        })
    }

    async fn fail_task(&self, _: &Ctx, request: FailTaskRequest) -> Result<FailTaskResponse> {
        self.answer_or_hang().await?;
        self.with(|state| {
            let row = held(state, &request.lease)?;
            let will_retry = request.retryable && row.task.attempts < row.task.max_attempts;
            row.task.status = if will_retry { "queued" } else { "failed" }.to_owned();
            row.due = false;
            row.effects.push(row.task.lease_epoch);
            row.failure = Some(request);
            Ok(FailTaskResponse { will_retry })
        })
    }

    async fn release_tasks(&self, _: &Ctx, request: ReleaseTasksRequest) -> Result<ReleaseTasksResponse> {
        self.answer_or_hang().await?;
        Ok(self.with(|state| {
            let all = request.leases.is_empty();
            if all {
                state.released_sessions.push(request.session_id.clone());
            }
            let mut released = 0;
            for row in state.rows.values_mut() {
                let named = request
                    .leases
                    .iter()
                    .any(|lease| lease.task_id == row.task.id && lease.lease_epoch == row.task.lease_epoch);
                if row.task.status == "processing" && row.session == request.session_id && (all || named) {
                    row.task.status = "queued".to_owned();
                    row.released += 1;
                    released += 1;
                }
            }
            ReleaseTasksResponse { released }
        }))
    }

    async fn get_nodes(&self, _: &Ctx, request: GetNodesRequest) -> Result<NodeStream> {
        self.answer()?;
        let state = self.state.lock().unwrap();
        let found: Vec<_> = request.ids.iter().filter_map(|id| state.nodes.get(id).cloned()).collect();
        Ok(futures::stream::iter(found.into_iter().map(|node| Ok(GetNodesResponse { node: Some(node) }))).boxed())
    }

    async fn authorize_channel(&self, _: &Ctx, _: AuthorizeChannelRequest) -> Result<AuthorizeChannelResponse> {
        Err(Error::forbidden("brokers listen to nothing"))
    }
}
