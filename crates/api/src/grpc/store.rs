use std::sync::Arc;

use futures::StreamExt as _;
use sker_auth::TokenKeys;
use sker_error::Result;
use sker_proto::store::{
    access_service_client::AccessServiceClient,
    access_service_server::{AccessService, AccessServiceServer},
    node_service_client::NodeServiceClient,
    node_service_server::{NodeService, NodeServiceServer},
    task_service_client::TaskServiceClient,
    task_service_server::{TaskService, TaskServiceServer},
    *,
};
use tonic::{Request, Response, Status, service::Routes, transport::Channel};

use super::{
    ClientAuth, MAX_MESSAGE_BYTES, from_status,
    server::{Adapter, WireStream, forward, serve, to_wire},
};
use crate::{Ctx, NodeStream, Store};

serve! { TaskService, Store {
    create_task(CreateTaskRequest) -> CreateTaskResponse;
    cancel_task(CancelTaskRequest) -> CancelTaskResponse;
    claim_tasks(ClaimTasksRequest) -> ClaimTasksResponse;
    renew_leases(RenewLeasesRequest) -> RenewLeasesResponse;
    report_progress(ReportProgressRequest) -> ReportProgressResponse;
    complete_task(CompleteTaskRequest) -> CompleteTaskResponse;
    fail_task(FailTaskRequest) -> FailTaskResponse;
    release_tasks(ReleaseTasksRequest) -> ReleaseTasksResponse;
} }

serve! { AccessService, Store {
    authorize_channel(AuthorizeChannelRequest) -> AuthorizeChannelResponse;
} }

serve! { NodeService, Store {}
    type GetNodesStream = WireStream<GetNodesResponse>;

    async fn get_nodes(
        &self,
        request: Request<GetNodesRequest>,
    ) -> Result<Response<Self::GetNodesStream>, Status> {
        self.handle("get_nodes", request, |api, ctx, message| {
            Box::pin(async move { Ok(to_wire(api.get_nodes(&ctx, message).await?)) })
        })
        .await
    }
}

/// The store's gRPC services, to be served beside health and reflection.
pub fn store_routes(store: Arc<dyn Store>, keys: Arc<TokenKeys>) -> Routes {
    let adapter = Adapter { api: store, keys };
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

/// The store across the network.
#[derive(Clone)]
pub struct StoreClient {
    auth: ClientAuth,
    tasks: TaskServiceClient<Channel>,
    nodes: NodeServiceClient<Channel>,
    access: AccessServiceClient<Channel>,
}

impl StoreClient {
    /// A client on a channel, which may be lazy.
    pub fn new(channel: Channel, auth: ClientAuth) -> Self {
        StoreClient {
            auth,
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
    tasks.create_task(CreateTaskRequest) -> CreateTaskResponse;
    tasks.cancel_task(CancelTaskRequest) -> CancelTaskResponse;
    tasks.claim_tasks(ClaimTasksRequest) -> ClaimTasksResponse;
    tasks.renew_leases(RenewLeasesRequest) -> RenewLeasesResponse;
    tasks.report_progress(ReportProgressRequest) -> ReportProgressResponse;
    tasks.complete_task(CompleteTaskRequest) -> CompleteTaskResponse;
    tasks.fail_task(FailTaskRequest) -> FailTaskResponse;
    tasks.release_tasks(ReleaseTasksRequest) -> ReleaseTasksResponse;
    access.authorize_channel(AuthorizeChannelRequest) -> AuthorizeChannelResponse;
}
    async fn get_nodes(&self, ctx: &Ctx, message: GetNodesRequest) -> Result<NodeStream> {
        let request = self.auth.request(ctx, message)?;
        let mut client = self.nodes.clone();
        let stream = ctx.bound(async { client.get_nodes(request).await.map_err(from_status) }).await?.into_inner();
        Ok(stream.map(|item| item.map_err(from_status)).boxed())
    }
}
