use std::sync::Arc;

use sker_api::{Ctx, Registry, WatchStream, grpc};
use sker_auth::ServiceTokens;
use sker_error::{Code, Error, Result};
use sker_proto::registry::*;
use sker_runtime::{Health, Listeners, rpc};
use sker_telemetry::Metrics;
use tokio_util::sync::CancellationToken;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::support::{PATIENCE, keys};

/// Answers a watch with one event and then nothing, for ever.
struct Endless;

#[async_trait::async_trait]
impl Registry for Endless {
    async fn register(&self, _: &Ctx, _: RegisterRequest) -> Result<RegisterResponse> {
        Err(Error::internal("never called"))
    }
    async fn heartbeat(&self, _: &Ctx, _: HeartbeatRequest) -> Result<HeartbeatResponse> {
        Err(Error::internal("never called"))
    }
    async fn deregister(&self, _: &Ctx, _: DeregisterRequest) -> Result<DeregisterResponse> {
        Err(Error::internal("never called"))
    }
    async fn discover(&self, _: &Ctx, _: DiscoverRequest) -> Result<DiscoverResponse> {
        Err(Error::internal("never called"))
    }
    async fn list_services(&self, _: &Ctx, _: ListServicesRequest) -> Result<ListServicesResponse> {
        Ok(ListServicesResponse::default())
    }
    async fn watch(&self, _: &Ctx, _: WatchRequest) -> Result<WatchStream> {
        let first = futures::stream::iter([Ok(WatchResponse::default())]);
        Ok(Box::pin(futures::StreamExt::chain(first, futures::stream::pending())))
    }
}

struct Served {
    url: String,
    health: Arc<Health>,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<anyhow::Result<()>>,
}

fn serve() -> Served {
    let listeners = Listeners::free(true).unwrap();
    let url = format!("http://{}", listeners.grpc_address().unwrap().unwrap());
    let (health, stop) = (Health::new("test", "1"), CancellationToken::new());
    let routes = grpc::registry_routes(Arc::new(Endless), keys(), &Metrics::new("test"));
    let running = tokio::spawn(rpc::serve(listeners.grpc.unwrap(), routes, Arc::clone(&health), stop.clone()));
    Served { url, health, stop, running }
}

#[tokio::test]
async fn the_grpc_health_service_says_what_ready_says() {
    let served = serve();
    let mut client = HealthClient::new(grpc::channel(&served.url).unwrap());
    let mut changes = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    let mut until = async |status: ServingStatus| {
        while changes.message().await.unwrap().unwrap().status() != status {}
    };
    tokio::time::timeout(PATIENCE, until(ServingStatus::NotServing)).await.unwrap();
    served.health.set_started();
    tokio::time::timeout(PATIENCE, until(ServingStatus::Serving)).await.unwrap();
    served.health.set_draining();
    tokio::time::timeout(PATIENCE, until(ServingStatus::NotServing)).await.unwrap();
    served.stop.cancel();
    tokio::time::timeout(PATIENCE, served.running).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn reflection_lists_the_services() {
    let served = serve();
    let mut client = ServerReflectionClient::new(grpc::channel(&served.url).unwrap());
    let message_request = Some(MessageRequest::ListServices(String::new()));
    let request = ServerReflectionRequest { host: String::new(), message_request };
    let mut answers = client.server_reflection_info(futures::stream::iter([request])).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(list) = answer else { panic!("{answer:?}") };
    let names: Vec<&str> = list.service.iter().map(|service| service.name.as_str()).collect();
    assert!(names.contains(&"sker.registry.v1.RegistryService"), "{names:?}");
    assert!(names.contains(&"grpc.health.v1.Health"), "{names:?}");
    served.stop.cancel();
}

#[tokio::test]
async fn an_open_watch_does_not_hold_up_the_drain_and_hears_why_it_ends() {
    use futures::StreamExt;

    let served = serve();
    let tokens = Arc::new(ServiceTokens::new(keys(), "gateway"));
    let client = grpc::RegistryClient::new(grpc::channel(&served.url).unwrap(), grpc::ClientAuth::new(tokens));
    let ctx = Ctx::service("gateway").unbounded();
    let mut watch = client.watch(&ctx, WatchRequest::default()).await.unwrap();
    watch.next().await.unwrap().unwrap();
    served.stop.cancel();
    let end = tokio::time::timeout(PATIENCE, watch.next()).await.unwrap();
    assert_eq!(end.unwrap().unwrap_err().code(), Code::Unavailable);
    tokio::time::timeout(PATIENCE, served.running).await.unwrap().unwrap().unwrap();
}
