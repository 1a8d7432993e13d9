use std::{
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::StreamExt as _;
use sker_api::{Ctx, NodeStream, Registry, Store, WatchStream, grpc};
use sker_auth::{ServiceTokens, TokenKeys};
use sker_error::{Error, Result};
use sker_proto::{registry::*, store::*};
use sker_telemetry::Metrics;
use tokio::{runtime::Runtime, sync::Semaphore};
use tonic::{
    service::Routes,
    transport::{Server, server::TcpIncoming},
};

/// Longer than anything here takes, so that a fault ends a test instead of hanging it.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn keys() -> Arc<TokenKeys> {
    Arc::new(TokenKeys::hs256(&"a secret of these tests, long enough".into()).unwrap())
}

pub fn auth() -> grpc::ClientAuth {
    grpc::ClientAuth::new(Arc::new(ServiceTokens::new(keys(), "gateway")))
}

pub fn store(address: SocketAddr) -> grpc::StoreClient {
    grpc::StoreClient::new(grpc::channel(&format!("http://{address}")).unwrap(), auth())
}

pub fn registry(address: SocketAddr) -> grpc::RegistryClient {
    grpc::RegistryClient::new(grpc::channel(&format!("http://{address}")).unwrap(), auth())
}

/// A store and a registry that write down what they are asked.
pub struct Service {
    /// How much time each call had.
    pub calls: Mutex<Vec<Option<Duration>>>,
    /// The place in a trace that the last call came from.
    pub traceparent: Mutex<Option<String>>,
    /// So many calls are answered with `unavailable`.
    pub away: AtomicU32,
    /// Calls that were dropped before they were answered get a permit each.
    pub dropped: Arc<Semaphore>,
}

impl Service {
    pub fn new() -> Arc<Self> {
        let dropped = Arc::new(Semaphore::new(0));
        let (calls, traceparent, away) = (Mutex::default(), Mutex::default(), AtomicU32::new(0));
        Arc::new(Service { calls, traceparent, away, dropped })
    }

    pub fn count(&self) -> usize {
        self.calls.lock().unwrap().len()
    }

    fn note(&self, ctx: &Ctx) -> Result<()> {
        self.calls.lock().unwrap().push(ctx.remaining());
        self.traceparent.lock().unwrap().clone_from(&ctx.traceparent);
        let less = |away: u32| away.checked_sub(1);
        match self.away.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less) {
            Ok(_) => Err(Error::unavailable("not now")),
            Err(_) => Ok(()),
        }
    }

    /// Answers never.
    async fn hang<T>(&self) -> T {
        struct Guard(Arc<Semaphore>);
        impl Drop for Guard {
            fn drop(&mut self) {
                self.0.add_permits(1);
            }
        }
        let _guard = Guard(Arc::clone(&self.dropped));
        std::future::pending().await
    }
}

/// A server that can be killed: it runs on threads of its own, and all its connections end with them.
pub struct Killable(Option<Runtime>);

impl Killable {
    pub fn kill(mut self) {
        self.0.take().unwrap().shutdown_background();
    }
}

impl Drop for Killable {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

pub fn free() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// Serves its side as a store.
pub fn serve_store(service: &Arc<Service>, listener: TcpListener) -> Killable {
    serve(grpc::store_routes(Arc::clone(service) as Arc<dyn Store>, keys(), &Metrics::new("test")), listener)
}

/// Serves its side as a registry.
pub fn serve_registry(service: &Arc<Service>, listener: TcpListener) -> Killable {
    serve(grpc::registry_routes(Arc::clone(service) as Arc<dyn Registry>, keys(), &Metrics::new("test")), listener)
}

fn serve(routes: Routes, listener: TcpListener) -> Killable {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    listener.set_nonblocking(true).unwrap();
    runtime.spawn(async move {
        let incoming = TcpIncoming::from(tokio::net::TcpListener::from_std(listener).unwrap());
        Server::builder().add_routes(routes).serve_with_incoming(incoming).await.unwrap();
    });
    Killable(Some(runtime))
}

fn nobody_asks<T>() -> Result<T> {
    Err(Error::internal("nobody asks that here"))
}

#[async_trait]
impl Store for Service {
    async fn create_task(&self, ctx: &Ctx, _: CreateTaskRequest) -> Result<CreateTaskResponse> {
        self.note(ctx)?;
        Ok(CreateTaskResponse { task: Some(Task::default()) })
    }
    async fn cancel_task(&self, ctx: &Ctx, _: CancelTaskRequest) -> Result<CancelTaskResponse> {
        self.note(ctx)?;
        self.hang().await
    }
    async fn claim_tasks(&self, ctx: &Ctx, _: ClaimTasksRequest) -> Result<ClaimTasksResponse> {
        self.note(ctx)?;
        Ok(ClaimTasksResponse::default())
    }
    async fn renew_leases(&self, _: &Ctx, _: RenewLeasesRequest) -> Result<RenewLeasesResponse> {
        nobody_asks()
    }
    async fn report_progress(&self, _: &Ctx, _: ReportProgressRequest) -> Result<ReportProgressResponse> {
        nobody_asks()
    }
    async fn complete_task(&self, _: &Ctx, _: CompleteTaskRequest) -> Result<CompleteTaskResponse> {
        nobody_asks()
    }
    async fn fail_task(&self, _: &Ctx, _: FailTaskRequest) -> Result<FailTaskResponse> {
        nobody_asks()
    }
    async fn release_tasks(&self, _: &Ctx, _: ReleaseTasksRequest) -> Result<ReleaseTasksResponse> {
        nobody_asks()
    }
    async fn get_nodes(&self, ctx: &Ctx, _: GetNodesRequest) -> Result<NodeStream> {
        self.note(ctx)?;
        let one = futures::stream::iter([Ok(GetNodesResponse::default())]);
        Ok(one.chain(futures::stream::pending()).boxed())
    }
    async fn authorize_channel(&self, _: &Ctx, _: AuthorizeChannelRequest) -> Result<AuthorizeChannelResponse> {
        nobody_asks()
    }
}

#[async_trait]
impl Registry for Service {
    async fn register(&self, _: &Ctx, _: RegisterRequest) -> Result<RegisterResponse> {
        nobody_asks()
    }
    async fn heartbeat(&self, _: &Ctx, _: HeartbeatRequest) -> Result<HeartbeatResponse> {
        nobody_asks()
    }
    async fn deregister(&self, _: &Ctx, _: DeregisterRequest) -> Result<DeregisterResponse> {
        nobody_asks()
    }
    async fn discover(&self, _: &Ctx, _: DiscoverRequest) -> Result<DiscoverResponse> {
        nobody_asks()
    }
    async fn list_services(&self, _: &Ctx, _: ListServicesRequest) -> Result<ListServicesResponse> {
        nobody_asks()
    }
    async fn watch(&self, ctx: &Ctx, _: WatchRequest) -> Result<WatchStream> {
        self.note(ctx)?;
        let event = watch_response::Event::Synced(Synced {});
        let one = futures::stream::iter([Ok(WatchResponse { event: Some(event), resume_token: String::new() })]);
        Ok(one.chain(futures::stream::pending()).boxed())
    }
}
