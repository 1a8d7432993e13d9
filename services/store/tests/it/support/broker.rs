use std::sync::Arc;

use anyhow::{Context as _, Result};
use serde_json::Value;
use sker_api::proto::store::{
    ClaimTasksRequest, ClaimTasksResponse, CompleteTaskRequest, FailTaskRequest, Lease, ReleaseTasksRequest,
    RenewLeasesRequest, ReportProgressRequest, Task, Usage,
};
use sker_api::{Ctx, Store};
use sker_bus::{Bus, Consumer};
use sker_testkit::PATIENCE;
use sker_types::TaskWake;

/// A broker's side of the conversation, one call at a time.
#[derive(Clone)]
pub struct Broker {
    store: Arc<dyn Store>,
    session: String,
}

impl Broker {
    pub fn new(store: Arc<dyn Store>, session: &str) -> Self {
        Broker { store, session: session.to_owned() }
    }

    fn ctx() -> Ctx {
        Ctx::service("broker")
    }

    /// Asks for a task under a lease, and answers whatever the store says.
    pub async fn ask_for(&self, task: &str, lease_ms: u64) -> sker_error::Result<ClaimTasksResponse> {
        let request =
            ClaimTasksRequest { ids: vec![task.to_owned()], limit: 1, session_id: self.session.clone(), lease_ms };
        self.store.claim_tasks(&Self::ctx(), request).await
    }

    /// Asks for several under a lease that outlives the test.
    pub async fn ask_for_all(&self, tasks: &[&str]) -> sker_error::Result<ClaimTasksResponse> {
        let ids = tasks.iter().map(|&task| task.to_owned()).collect();
        let request = ClaimTasksRequest { ids, limit: 200, session_id: self.session.clone(), lease_ms: 600_000 };
        self.store.claim_tasks(&Self::ctx(), request).await
    }

    /// Takes whatever is there to be taken, at most `limit` tasks, under a lease that outlives the test.
    pub async fn claim_any(&self, limit: u32) -> Result<Vec<Task>> {
        let session_id = self.session.clone();
        let request = ClaimTasksRequest { ids: Vec::new(), limit, session_id, lease_ms: 600_000 };
        Ok(self.store.claim_tasks(&Self::ctx(), request).await?.tasks)
    }

    /// Takes a task that must be there to be taken, under a lease that outlives the test.
    pub async fn claim(&self, task: &str) -> Result<Task> {
        self.claim_for(task, 600_000).await
    }

    /// Takes a task that must be there to be taken.
    pub async fn claim_for(&self, task: &str, lease_ms: u64) -> Result<Task> {
        let answer = self.ask_for(task, lease_ms).await?;
        let unclaimed = format!("{:?}", answer.unclaimed);
        answer.tasks.into_iter().next().with_context(|| format!("not claimed: {unclaimed}"))
    }

    /// Why a task cannot be taken now.
    pub async fn refusal(&self, task: &str) -> Result<String> {
        let answer = self.ask_for(task, 600_000).await?;
        let refused = answer.unclaimed.into_iter().find(|unclaimed| unclaimed.id == task);
        refused.map(|unclaimed| unclaimed.reason).context("it was claimed")
    }

    /// Extends a lease; answers why it is lost, if it is.
    pub async fn renew(&self, lease: &Lease) -> Result<Option<String>> {
        let request = RenewLeasesRequest { session_id: self.session.clone(), leases: vec![lease.clone()] };
        let lost = self.store.renew_leases(&Self::ctx(), request).await?.lost;
        Ok(lost.into_iter().find(|lost| lost.task_id == lease.task_id).map(|lost| lost.reason))
    }

    pub async fn progress(&self, lease: &Lease, progress: u32, message: &str) -> sker_error::Result<()> {
        let request = ReportProgressRequest { lease: Some(lease.clone()), progress, message: message.to_owned() };
        self.store.report_progress(&Self::ctx(), request).await.map(drop)
    }

    /// Completes a task; says whether this very epoch had done so before.
    pub async fn complete(&self, lease: &Lease, output: &Value) -> sker_error::Result<bool> {
        let usage = Usage { prompt_tokens: 30, completion_tokens: 12, estimated: false, cost: 0.25 };
        let request =
            CompleteTaskRequest { lease: Some(lease.clone()), output_json: output.to_string(), usage: Some(usage) };
        Ok(self.store.complete_task(&Self::ctx(), request).await?.repeated_call)
    }

    /// Reports a failed attempt; says whether there is to be another.
    pub async fn fail(&self, lease: &Lease, retryable: bool, retry_after_ms: u64) -> sker_error::Result<bool> {
        let request = FailTaskRequest {
            lease: Some(lease.clone()),
            code: "engine_error".to_owned(),
            message: "the engine is away".to_owned(),
            retryable,
            retry_after_ms,
            usage: None,
        };
        Ok(self.store.fail_task(&Self::ctx(), request).await?.will_retry)
    }

    /// Gives one claim back; answers how many were given back.
    pub async fn release(&self, lease: &Lease) -> Result<u32> {
        let request = ReleaseTasksRequest { session_id: self.session.clone(), leases: vec![lease.clone()] };
        Ok(self.store.release_tasks(&Self::ctx(), request).await?.released)
    }

    /// Gives everything back that this session holds.
    pub async fn release_all(&self) -> Result<u32> {
        let request = ReleaseTasksRequest { session_id: self.session.clone(), leases: Vec::new() };
        Ok(self.store.release_tasks(&Self::ctx(), request).await?.released)
    }
}

/// The claim that a claimed task stands for.
pub fn lease_of(task: &Task) -> Lease {
    Lease { task_id: task.id.clone(), lease_epoch: task.lease_epoch }
}

/// The wake-ups of one work queue.
pub struct Wakes {
    consumer: Consumer,
}

impl Wakes {
    pub async fn of(bus: &dyn Bus, queue: &str) -> Result<Self> {
        Ok(Wakes { consumer: bus.consume(queue, 64).await? })
    }

    /// The next one.
    pub async fn next(&mut self) -> Result<TaskWake> {
        let delivery = tokio::time::timeout(PATIENCE, self.consumer.recv()).await.context("no wake-up came")?;
        let delivery = delivery.context("the queue is gone")?;
        let wake = delivery.message.parse()?;
        delivery.ack().await?;
        Ok(wake)
    }

    /// Takes wake-ups until one is for this task. They may be repeated at any time.
    pub async fn until(&mut self, task: &str) -> Result<TaskWake> {
        loop {
            let wake = self.next().await?;
            if wake.task_id.to_string() == task {
                return Ok(wake);
            }
        }
    }
}
