use async_trait::async_trait;
use futures::stream::BoxStream;
use sker_error::Result;
use sker_proto::registry::{
    DeregisterRequest, DeregisterResponse, DiscoverRequest, DiscoverResponse, HeartbeatRequest, HeartbeatResponse,
    ListServicesRequest, ListServicesResponse, RegisterRequest, RegisterResponse, WatchRequest, WatchResponse,
};

use crate::Ctx;

/// The group of the platform's own services. Only service-role callers register there.
pub const PLATFORM_GROUP: &str = "sker-platform";

/// Changes as they happen. Ends with an error when the server stops or the client is too slow; resume by token.
pub type WatchStream = BoxStream<'static, Result<WatchResponse>>;

/// The registry as other services see it. `proto/sker/registry/v1` says what each call does.
#[async_trait]
pub trait Registry: Send + Sync + 'static {
    /// Registers an instance or refreshes it.
    async fn register(&self, ctx: &Ctx, request: RegisterRequest) -> Result<RegisterResponse>;
    /// Renews leases; names the ids it does not know.
    async fn heartbeat(&self, ctx: &Ctx, request: HeartbeatRequest) -> Result<HeartbeatResponse>;
    /// Removes an instance.
    async fn deregister(&self, ctx: &Ctx, request: DeregisterRequest) -> Result<DeregisterResponse>;
    /// Instances of a service.
    async fn discover(&self, ctx: &Ctx, request: DiscoverRequest) -> Result<DiscoverResponse>;
    /// Services that are known.
    async fn list_services(&self, ctx: &Ctx, request: ListServicesRequest) -> Result<ListServicesResponse>;
    /// Changes from a resume token on, or beginning with a snapshot.
    async fn watch(&self, ctx: &Ctx, request: WatchRequest) -> Result<WatchStream>;
}
