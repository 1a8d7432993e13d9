use std::sync::Arc;

use sker_auth::TokenKeys;
use sker_error::Result;
use sker_proto::store::{
    access_service_client::AccessServiceClient,
    access_service_server::{self, AccessService, AccessServiceServer},
    node_service_client::NodeServiceClient,
    node_service_server::{self, NodeService, NodeServiceServer},
    task_service_client::TaskServiceClient,
    task_service_server::{self, TaskService, TaskServiceServer},
    *,
};
use sker_telemetry::Metrics;
use tonic::{Request, Response, Status, service::Routes, transport::Channel};

use super::{
    ClientAuth, MAX_MESSAGE_BYTES,
    call::{Caller, Method, until_deadline, with_deadline},
    server::{Adapter, WireStream, always, forward, serve, to_wire},
};
use crate::{Ctx, NodeStream, Store};

serve! { TaskService = task_service_server::SERVICE_NAME, Store {
    create_task(CreateTaskRequest) -> CreateTaskResponse;
    cancel_task(CancelTaskRequest) -> CancelTaskResponse;
    claim_tasks(ClaimTasksRequest) -> ClaimTasksResponse;
    renew_leases(RenewLeasesRequest) -> RenewLeasesResponse;
    report_progress(ReportProgressRequest) -> ReportProgressResponse;
    complete_task(CompleteTaskRequest) -> CompleteTaskResponse;
    fail_task(FailTaskRequest) -> FailTaskResponse;
    release_tasks(ReleaseTasksRequest) -> ReleaseTasksResponse;
} }

serve! { AccessService = access_service_server::SERVICE_NAME, Store {
    authorize_channel(AuthorizeChannelRequest) -> AuthorizeChannelResponse;
} }

serve! { NodeService = node_service_server::SERVICE_NAME, Store {}
    type GetNodesStream = WireStream<GetNodesResponse>;

    async fn get_nodes(
        &self,
        request: Request<GetNodesRequest>,
    ) -> Result<Response<Self::GetNodesStream>, Status> {
        self.handle(node_service_server::SERVICE_NAME, "get_nodes", request, |api, ctx, message| {
            Box::pin(async move { Ok(to_wire(api.get_nodes(&ctx, message).await?)) })
        })
        .await
    }
}

/// The store's gRPC services, to be served beside health and reflection.
pub fn store_routes(store: Arc<dyn Store>, keys: Arc<TokenKeys>, metrics: &Metrics) -> Routes {
    let adapter = Adapter::new(store, keys, metrics);
    let mut routes = Routes::builder();
    routes
        .add_service(
            TaskServiceServer::new(adapter.clone())
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES),
        )
        .add_service(
            NodeServiceServer::new(adapter.clone())
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES),
        )
        .add_service(AccessServiceServer::new(adapter));
    routes.routes()
}

/// The store across the network. Every call may be repeated but one: a task without an idempotency key may be created twice.
#[derive(Clone)]
pub struct StoreClient {
    caller: Caller,
    tasks: TaskServiceClient<Channel>,
    nodes: NodeServiceClient<Channel>,
    access: AccessServiceClient<Channel>,
}

impl StoreClient {
    /// A client on a channel, which may be lazy.
    pub fn new(channel: Channel, auth: ClientAuth) -> Self {
        StoreClient {
            caller: Caller::new(auth),
            tasks: TaskServiceClient::new(channel.clone())
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES),
            nodes: NodeServiceClient::new(channel.clone())
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES),
            access: AccessServiceClient::new(channel),
        }
    }
}

forward! { StoreClient, Store {
    tasks: task_service_server::SERVICE_NAME => {
        create_task(CreateTaskRequest) -> CreateTaskResponse
            => |request: &CreateTaskRequest| !request.idempotency_key.is_empty();
        cancel_task(CancelTaskRequest) -> CancelTaskResponse => always;
        claim_tasks(ClaimTasksRequest) -> ClaimTasksResponse => always;
        renew_leases(RenewLeasesRequest) -> RenewLeasesResponse => always;
        report_progress(ReportProgressRequest) -> ReportProgressResponse => always;
        complete_task(CompleteTaskRequest) -> CompleteTaskResponse => always;
        fail_task(FailTaskRequest) -> FailTaskResponse => always;
        release_tasks(ReleaseTasksRequest) -> ReleaseTasksResponse => always;
    }
    access: access_service_server::SERVICE_NAME => {
        authorize_channel(AuthorizeChannelRequest) -> AuthorizeChannelResponse => always;
    }
}
    async fn get_nodes(&self, ctx: &Ctx, message: GetNodesRequest) -> Result<NodeStream> {
        let method = Method { service: node_service_server::SERVICE_NAME, name: "get_nodes", repeatable: true };
        // One deadline for the whole answer: that of the call itself.
        let ctx = with_deadline(ctx);
        let begin = |request| {
            let mut client = self.nodes.clone();
            async move { client.get_nodes(request).await }
        };
        let items = self.caller.call(&ctx, method, message, begin).await?;
        Ok(until_deadline(ctx, items))
    }
}
