use std::sync::Mutex;

use async_trait::async_trait;
use sker_api::{Ctx, NodeStream, Store};
use sker_error::{Error, Result};
use sker_proto::store::{
    AuthorizeChannelRequest, AuthorizeChannelResponse, CancelTaskRequest, CancelTaskResponse, ClaimTasksRequest,
    ClaimTasksResponse, CompleteTaskRequest, CompleteTaskResponse, CreateTaskRequest, CreateTaskResponse,
    FailTaskRequest, FailTaskResponse, GetNodesRequest, ReleaseTasksRequest, ReleaseTasksResponse, RenewLeasesRequest,
    RenewLeasesResponse, ReportProgressRequest, ReportProgressResponse, Task,
};
use sker_types::new_id;

/// A store as far as the gateway calls it. Everybody may listen to every project but `project:secret`.
#[derive(Default)]
pub struct TestStore {
    /// Who created what.
    pub tasks: Mutex<Vec<(String, CreateTaskRequest)>>,
}

fn not_the_gateways<T>() -> Result<T> {
    Err(Error::internal("the gateway has no business here"))
}

#[async_trait]
impl Store for TestStore {
    async fn create_task(&self, ctx: &Ctx, request: CreateTaskRequest) -> Result<CreateTaskResponse> {
        if request.project_id.is_empty() {
            return Err(Error::not_found("project"));
        }
        let id = new_id().to_string();
        self.tasks.lock().unwrap().push((ctx.principal.subject.clone(), request));
        Ok(CreateTaskResponse { task: Some(Task { id, ..Task::default() }) })
    }

    async fn cancel_task(&self, _: &Ctx, request: CancelTaskRequest) -> Result<CancelTaskResponse> {
        match request.id.ends_with('0') {
            true => Err(Error::conflict("the task is finished")),
            false => Ok(CancelTaskResponse { task: Some(Task { id: request.id, ..Task::default() }) }),
        }
    }

    async fn authorize_channel(&self, ctx: &Ctx, request: AuthorizeChannelRequest) -> Result<AuthorizeChannelResponse> {
        match request.channel.as_str() {
            "project:secret" => Err(Error::not_found("channel")),
            "user:me" => Ok(AuthorizeChannelResponse { channel: format!("user:{}", ctx.principal.subject) }),
            channel => Ok(AuthorizeChannelResponse { channel: channel.to_owned() }),
        }
    }

    async fn claim_tasks(&self, _: &Ctx, _: ClaimTasksRequest) -> Result<ClaimTasksResponse> {
        not_the_gateways()
    }

    async fn renew_leases(&self, _: &Ctx, _: RenewLeasesRequest) -> Result<RenewLeasesResponse> {
        not_the_gateways()
    }

    async fn report_progress(&self, _: &Ctx, _: ReportProgressRequest) -> Result<ReportProgressResponse> {
        not_the_gateways()
    }

    async fn complete_task(&self, _: &Ctx, _: CompleteTaskRequest) -> Result<CompleteTaskResponse> {
        not_the_gateways()
    }

    async fn fail_task(&self, _: &Ctx, _: FailTaskRequest) -> Result<FailTaskResponse> {
        not_the_gateways()
    }

    async fn release_tasks(&self, _: &Ctx, _: ReleaseTasksRequest) -> Result<ReleaseTasksResponse> {
        not_the_gateways()
    }

    async fn get_nodes(&self, _: &Ctx, _: GetNodesRequest) -> Result<NodeStream> {
        not_the_gateways()
    }
}
