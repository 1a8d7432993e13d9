use std::sync::Arc;

use futures::StreamExt as _;
use sker_auth::TokenKeys;
use sker_error::Result;
use sker_proto::registry::{
    registry_service_client::RegistryServiceClient,
    registry_service_server::{RegistryService, RegistryServiceServer, SERVICE_NAME},
    *,
};
use sker_telemetry::Metrics;
use tonic::{Request, Response, Status, service::Routes, transport::Channel};

use super::{
    ClientAuth, MAX_MESSAGE_BYTES,
    call::{Caller, Method},
    from_status,
    metadata::GRPC_TIMEOUT,
    server::{Adapter, WireStream, always, forward, serve, to_wire},
};
use crate::{Ctx, Registry, WatchStream};

serve! { RegistryService = SERVICE_NAME, Registry {
    register(RegisterRequest) -> RegisterResponse;
    heartbeat(HeartbeatRequest) -> HeartbeatResponse;
    deregister(DeregisterRequest) -> DeregisterResponse;
    discover(DiscoverRequest) -> DiscoverResponse;
    list_services(ListServicesRequest) -> ListServicesResponse;
}
    type WatchStream = WireStream<WatchResponse>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        self.handle(SERVICE_NAME, "watch", request, |api, ctx, message| {
            Box::pin(async move { Ok(to_wire(api.watch(&ctx, message).await?)) })
        })
        .await
    }
}

/// The registry's gRPC service, to be served beside health and reflection.
pub fn registry_routes(registry: Arc<dyn Registry>, keys: Arc<TokenKeys>, metrics: &Metrics) -> Routes {
    Routes::new(
        RegistryServiceServer::new(Adapter::new(registry, keys, metrics))
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES),
    )
}

/// The registry across the network. Every call may be repeated: instances have an identity of their own.
#[derive(Clone)]
pub struct RegistryClient {
    caller: Caller,
    registry: RegistryServiceClient<Channel>,
}

impl RegistryClient {
    /// A client on a channel, which may be lazy.
    pub fn new(channel: Channel, auth: ClientAuth) -> Self {
        let registry = RegistryServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        RegistryClient { caller: Caller::new(auth), registry }
    }
}

forward! { RegistryClient, Registry {
    registry: SERVICE_NAME => {
        register(RegisterRequest) -> RegisterResponse => always;
        heartbeat(HeartbeatRequest) -> HeartbeatResponse => always;
        deregister(DeregisterRequest) -> DeregisterResponse => always;
        discover(DiscoverRequest) -> DiscoverResponse => always;
        list_services(ListServicesRequest) -> ListServicesResponse => always;
    }
}
    async fn watch(&self, ctx: &Ctx, message: WatchRequest) -> Result<WatchStream> {
        let method = Method { service: SERVICE_NAME, name: "watch", repeatable: true };
        let begin = |mut request: Request<WatchRequest>| {
            // The deadline is for the stream to begin; a watch itself lives as long as both ends do.
            request.metadata_mut().remove(GRPC_TIMEOUT);
            let mut client = self.registry.clone();
            async move { client.watch(request).await }
        };
        let stream = self.caller.call(ctx, method, message, begin).await?;
        Ok(stream.map(|item| item.map_err(from_status)).boxed())
    }
}
