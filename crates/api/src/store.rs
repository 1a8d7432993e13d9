use async_trait::async_trait;
use futures::stream::BoxStream;
use sker_error::Result;
use sker_proto::store::{
    AuthorizeChannelRequest, AuthorizeChannelResponse, CancelTaskRequest, CancelTaskResponse, ClaimTasksRequest,
    ClaimTasksResponse, CompleteTaskRequest, CompleteTaskResponse, CreateTaskRequest, CreateTaskResponse,
    FailTaskRequest, FailTaskResponse, GetNodesRequest, GetNodesResponse, ReleaseTasksRequest, ReleaseTasksResponse,
    RenewLeasesRequest, RenewLeasesResponse, ReportProgressRequest, ReportProgressResponse,
};

use crate::Ctx;

/// Nodes as they are read.
pub type NodeStream = BoxStream<'static, Result<GetNodesResponse>>;

/// The store as other services see it. `proto/sker/store/v1` says what each call does.
///
/// Calls under a claim are fenced: with an epoch that is not the task's current one they fail with `conflict` and change
/// nothing. Repeating a call that succeeded changes nothing either.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Creates a task for the acting user. `validation_failed` names every bad field; `not_found` for a project that the
    /// user cannot see.
    async fn create_task(&self, ctx: &Ctx, request: CreateTaskRequest) -> Result<CreateTaskResponse>;
    /// Cancels a task of the acting user; `conflict` when it is finished.
    async fn cancel_task(&self, ctx: &Ctx, request: CancelTaskRequest) -> Result<CancelTaskResponse>;
    /// Takes queued tasks under a lease.
    async fn claim_tasks(&self, ctx: &Ctx, request: ClaimTasksRequest) -> Result<ClaimTasksResponse>;
    /// Extends leases and tells which are lost.
    async fn renew_leases(&self, ctx: &Ctx, request: RenewLeasesRequest) -> Result<RenewLeasesResponse>;
    /// Stores and publishes progress.
    async fn report_progress(&self, ctx: &Ctx, request: ReportProgressRequest) -> Result<ReportProgressResponse>;
    /// Stores the result and applies it.
    async fn complete_task(&self, ctx: &Ctx, request: CompleteTaskRequest) -> Result<CompleteTaskResponse>;
    /// Stores a failed attempt.
    async fn fail_task(&self, ctx: &Ctx, request: FailTaskRequest) -> Result<FailTaskResponse>;
    /// Gives claimed tasks back.
    async fn release_tasks(&self, ctx: &Ctx, request: ReleaseTasksRequest) -> Result<ReleaseTasksResponse>;
    /// Nodes by id, in the order asked for; ids that are not there are left out.
    async fn get_nodes(&self, ctx: &Ctx, request: GetNodesRequest) -> Result<NodeStream>;
    /// Whether the acting user may listen to a channel; `not_found` when not.
    async fn authorize_channel(&self, ctx: &Ctx, request: AuthorizeChannelRequest) -> Result<AuthorizeChannelResponse>;
}
