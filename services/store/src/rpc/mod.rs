//! The store as other services call it: protobuf messages in and out of the use cases.

use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt as _;
use sker_api::{
    Ctx, NodeStream, Store,
    proto::store::{
        self as proto, AuthorizeChannelRequest, AuthorizeChannelResponse, CancelTaskRequest, CancelTaskResponse,
        ClaimTasksRequest, ClaimTasksResponse, CompleteTaskRequest, CompleteTaskResponse, CreateTaskRequest,
        CreateTaskResponse, FailTaskRequest, FailTaskResponse, GetNodesRequest, GetNodesResponse, LostLease,
        ReleaseTasksRequest, ReleaseTasksResponse, RenewLeasesRequest, RenewLeasesResponse, ReportProgressRequest,
        ReportProgressResponse, Unclaimed,
    },
};
use sker_error::{Error, Result};
use sker_types::{Uuid, parse_id};

use crate::app::{App, Failure, Lease, Node, Task, Usage};

/// Implements the api trait over the use cases.
pub(crate) struct StoreApi {
    app: Arc<App>,
}

impl StoreApi {
    pub(crate) fn new(app: Arc<App>) -> Self {
        StoreApi { app }
    }
}

#[async_trait]
impl Store for StoreApi {
    async fn create_task(&self, ctx: &Ctx, request: CreateTaskRequest) -> Result<CreateTaskResponse> {
        let project = read_id(&request.project_id, "project")?;
        let body = serde_json::from_str(&request.body_json)
            .map_err(|fault| Error::invalid_request(format!("body_json is not valid JSON: {fault}")))?;
        let key = Some(request.idempotency_key.as_str()).filter(|key| !key.is_empty());
        let task = self.app.create_task(ctx, Some(project), body, key).await?;
        Ok(CreateTaskResponse { task: Some(task_to_proto(task)) })
    }

    async fn cancel_task(&self, ctx: &Ctx, request: CancelTaskRequest) -> Result<CancelTaskResponse> {
        let task = self.app.cancel_task(ctx, read_id(&request.id, "task")?).await?;
        Ok(CancelTaskResponse { task: Some(task_to_proto(task)) })
    }

    async fn claim_tasks(&self, ctx: &Ctx, request: ClaimTasksRequest) -> Result<ClaimTasksResponse> {
        let ClaimTasksRequest { ids, limit, session_id, lease_ms } = request;
        let claimed = self.app.claim_tasks(ctx, &ids, limit, &session_id, lease_ms).await?;
        let unclaimed = |(id, reason): (String, &str)| Unclaimed { id, reason: reason.to_owned() };
        Ok(ClaimTasksResponse {
            tasks: claimed.tasks.into_iter().map(task_to_proto).collect(),
            unclaimed: claimed.unclaimed.into_iter().map(unclaimed).collect(),
        })
    }

    async fn renew_leases(&self, ctx: &Ctx, request: RenewLeasesRequest) -> Result<RenewLeasesResponse> {
        let leases = request.leases.iter().map(read_lease).collect::<Result<Vec<Lease>>>()?;
        let lost = self.app.renew_leases(ctx, &request.session_id, &leases).await?;
        let lost =
            lost.into_iter().map(|lost| LostLease { task_id: lost.task.to_string(), reason: lost.reason.to_owned() });
        Ok(RenewLeasesResponse { lost: lost.collect() })
    }

    async fn report_progress(&self, ctx: &Ctx, request: ReportProgressRequest) -> Result<ReportProgressResponse> {
        let lease = required_lease(request.lease)?;
        self.app.report_progress(ctx, lease, request.progress, &request.message).await?;
        Ok(ReportProgressResponse {})
    }

    async fn complete_task(&self, ctx: &Ctx, request: CompleteTaskRequest) -> Result<CompleteTaskResponse> {
        let lease = required_lease(request.lease)?;
        let usage = request.usage.map(read_usage);
        let repeated_call = self.app.complete_task(ctx, lease, &request.output_json, usage).await?;
        Ok(CompleteTaskResponse { repeated_call })
    }

    async fn fail_task(&self, ctx: &Ctx, request: FailTaskRequest) -> Result<FailTaskResponse> {
        let lease = required_lease(request.lease)?;
        let failure = Failure {
            code: request.code,
            message: request.message,
            retryable: request.retryable,
            retry_after_ms: request.retry_after_ms,
        };
        let will_retry = self.app.fail_task(ctx, lease, &failure, request.usage.map(read_usage)).await?;
        Ok(FailTaskResponse { will_retry })
    }

    async fn release_tasks(&self, ctx: &Ctx, request: ReleaseTasksRequest) -> Result<ReleaseTasksResponse> {
        let leases = request.leases.iter().map(read_lease).collect::<Result<Vec<Lease>>>()?;
        let released = self.app.release_tasks(ctx, &request.session_id, &leases).await?;
        Ok(ReleaseTasksResponse { released })
    }

    async fn get_nodes(&self, ctx: &Ctx, request: GetNodesRequest) -> Result<NodeStream> {
        let project = read_id(&request.project_id, "project")?;
        // What is no id names no node.
        let ids = request.ids.iter().filter_map(|id| parse_id(id)).collect();
        let nodes = self.app.stream_nodes(ctx, project, ids).await?;
        Ok(nodes.map(|node| node.map(|node| GetNodesResponse { node: Some(node_to_proto(node)) })).boxed())
    }

    async fn authorize_channel(&self, ctx: &Ctx, request: AuthorizeChannelRequest) -> Result<AuthorizeChannelResponse> {
        let channel = self.app.authorize_channel(ctx, &request.channel).await?;
        Ok(AuthorizeChannelResponse { channel })
    }
}

fn read_id(text: &str, what: &str) -> Result<Uuid> {
    parse_id(text).ok_or_else(|| Error::not_found(what))
}

fn read_lease(lease: &proto::Lease) -> Result<Lease> {
    let epoch = i64::try_from(lease.lease_epoch).map_err(|_| Error::invalid_request("the lease epoch is too large"))?;
    Ok(Lease { task: read_id(&lease.task_id, "task")?, epoch })
}

fn required_lease(lease: Option<proto::Lease>) -> Result<Lease> {
    read_lease(&lease.ok_or_else(|| Error::invalid_request("the lease is missing"))?)
}

fn read_usage(usage: proto::Usage) -> Usage {
    let tokens = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    Usage {
        prompt_tokens: tokens(usage.prompt_tokens),
        completion_tokens: tokens(usage.completion_tokens),
        estimated: usage.estimated,
        cost: usage.cost,
    }
}

fn task_to_proto(task: Task) -> proto::Task {
    proto::Task {
        id: task.id.to_string(),
        project_id: task.project_id.to_string(),
        user_id: task.user_id.to_string(),
        node_id: task.node_id.map(|id| id.to_string()).unwrap_or_default(),
        r#type: task.kind,
        status: task.status,
        priority: task.priority,
        input_json: task.input_data.to_string(),
        attempts: unsigned(task.attempts),
        max_attempts: unsigned(task.max_attempts),
        timeout_ms: task.timeout_ms.unsigned_abs(),
        lease_epoch: task.lease_epoch.unsigned_abs(),
        progress: unsigned(task.progress),
    }
}

fn node_to_proto(node: Node) -> proto::Node {
    let tags = node.tags.as_array().into_iter().flatten().filter_map(|tag| tag.as_str().map(str::to_owned));
    proto::Node {
        id: node.id.to_string(),
        project_id: node.project_id.to_string(),
        title: node.title,
        tags: tags.collect(),
        content: node.content,
        importance: unsigned(node.importance),
        version: node.version.unsigned_abs(),
    }
}

fn unsigned(value: i32) -> u32 {
    u32::try_from(value).unwrap_or(0)
}
