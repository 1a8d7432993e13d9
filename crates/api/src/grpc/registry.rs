use std::sync::Arc;

use futures::StreamExt as _;
use sker_auth::TokenKeys;
use sker_error::Result;
use sker_proto::registry::{
    registry_service_client::RegistryServiceClient,
    registry_service_server::{RegistryService, RegistryServiceServer},
    *,
};
use tonic::{Request, Response, Status, service::Routes, transport::Channel};

use super::{
    ClientAuth, MAX_MESSAGE_BYTES, from_status,
    server::{Adapter, WireStream, forward, serve, to_wire},
};
use crate::{Ctx, Registry, WatchStream};

serve! { RegistryService, Registry {
    register(RegisterRequest) -> RegisterResponse;
    heartbeat(HeartbeatRequest) -> HeartbeatResponse;
    deregister(DeregisterRequest) -> DeregisterResponse;
    discover(DiscoverRequest) -> DiscoverResponse;
    list_services(ListServicesRequest) -> ListServicesResponse;
}
    type WatchStream = WireStream<WatchResponse>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        self.handle("watch", request, |api, ctx, message| {
            Box::pin(async move { Ok(to_wire(api.watch(&ctx, message).await?)) })
        })
        .await
    }
}

/// The registry's gRPC service, to be served beside health and reflection.
pub fn registry_routes(registry: Arc<dyn Registry>, keys: Arc<TokenKeys>) -> Routes {
    Routes::new(
        RegistryServiceServer::new(Adapter { api: registry, keys })
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES),
    )
}

/// The registry across the network.
#[derive(Clone)]
pub struct RegistryClient {
    auth: ClientAuth,
    registry: RegistryServiceClient<Channel>,
}

impl RegistryClient {
    /// A client on a channel, which may be lazy.
    pub fn new(channel: Channel, auth: ClientAuth) -> Self {
        let registry = RegistryServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        RegistryClient { auth, registry }
    }
}

forward! { RegistryClient, Registry {
    registry.register(RegisterRequest) -> RegisterResponse;
    registry.heartbeat(HeartbeatRequest) -> HeartbeatResponse;
    registry.deregister(DeregisterRequest) -> DeregisterResponse;
    registry.discover(DiscoverRequest) -> DiscoverResponse;
    registry.list_services(ListServicesRequest) -> ListServicesResponse;
}
    async fn watch(&self, ctx: &Ctx, message: WatchRequest) -> Result<WatchStream> {
        // The deadline is for the stream to begin; a watch itself lives as long as both ends do.
        let request = self.auth.request(&ctx.clone().unbounded(), message)?;
        let mut client = self.registry.clone();
        let stream = ctx.bound(async { client.watch(request).await.map_err(from_status) }).await?.into_inner();
        Ok(stream.map(|item| item.map_err(from_status)).boxed())
    }
}
