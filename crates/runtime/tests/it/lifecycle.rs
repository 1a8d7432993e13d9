use std::sync::{Arc, Mutex};

use actix_web::{HttpResponse, web};
use async_trait::async_trait;
use sker_api::{Ctx, Registry, WatchStream};
use sker_client::Registrar;
use sker_error::{Error, Result};
use sker_proto::registry::*;
use sker_runtime::{Health, Lifecycle, Policy, ShutdownConfig, TaskSet, http::HttpOptions, platform_instance};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::support::{PATIENCE, Running};

/// Writes down what happens, in order.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<&'static str>>>);

impl Diary {
    fn write(&self, entry: &'static str) {
        self.0.lock().unwrap().push(entry);
    }

    fn read(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().clone()
    }
}

struct Watched {
    diary: Diary,
    health: Arc<Health>,
    registered: Arc<Notify>,
}

#[async_trait]
impl Registry for Watched {
    async fn register(&self, _: &Ctx, request: RegisterRequest) -> Result<RegisterResponse> {
        assert!(self.health.ready(), "nobody is sent to a service that is not ready");
        self.diary.write("registered");
        let instance = request.instance.map(|instance| Instance { instance_id: "i-1".to_owned(), ..instance });
        self.registered.notify_one();
        Ok(RegisterResponse { instance, created: true })
    }

    async fn heartbeat(&self, _: &Ctx, _: HeartbeatRequest) -> Result<HeartbeatResponse> {
        Ok(HeartbeatResponse::default())
    }

    async fn deregister(&self, _: &Ctx, request: DeregisterRequest) -> Result<DeregisterResponse> {
        assert_eq!(request.instance_id, "i-1");
        assert!(!self.health.ready(), "it is not ready any more before it deregisters");
        self.diary.write("deregistered");
        Ok(DeregisterResponse {})
    }

    async fn discover(&self, _: &Ctx, _: DiscoverRequest) -> Result<DiscoverResponse> {
        Err(Error::not_found("service"))
    }

    async fn list_services(&self, _: &Ctx, _: ListServicesRequest) -> Result<ListServicesResponse> {
        Err(Error::not_found("service"))
    }

    async fn watch(&self, _: &Ctx, _: WatchRequest) -> Result<WatchStream> {
        Err(Error::not_found("service"))
    }
}

#[tokio::test]
async fn a_service_stops_in_the_order_that_loses_nothing() {
    let (diary, registered) = (Diary::default(), Arc::new(Notify::new()));
    let (health, tasks) = (Health::new("test", "1"), TaskSet::new());
    let registry = Watched { diary: diary.clone(), health: Arc::clone(&health), registered: Arc::clone(&registered) };
    let instance = platform_instance("test", "127.0.0.1", 1, "1", &[]);
    let task_diary = diary.clone();
    tasks.spawn("worker", Policy::Restart, move |token| {
        let diary = task_diary.clone();
        async move {
            token.cancelled().await;
            diary.write("task ended");
        }
    });
    let (server_diary, close_diary) = (diary.clone(), diary.clone());
    let shutdown = CancellationToken::new();
    let lifecycle = Lifecycle::new("test", health, tasks, ShutdownConfig { drain_ms: 10_000, settle_ms: 1 })
        .registered_by(Registrar::new(Arc::new(registry), "test", instance))
        .server("server", |stop| async move {
            stop.cancelled().await;
            server_diary.write("server stopped");
            Ok(())
        })
        .on_close("database", || async move {
            close_diary.write("database closed");
            Ok(())
        });
    let running = tokio::spawn(lifecycle.run(shutdown.clone()));
    tokio::time::timeout(PATIENCE, registered.notified()).await.unwrap();
    shutdown.cancel();
    tokio::time::timeout(PATIENCE, running).await.unwrap().unwrap().unwrap();
    let expected = ["registered", "deregistered", "server stopped", "task ended", "database closed"];
    assert_eq!(diary.read(), expected);
}

#[tokio::test]
async fn requests_in_flight_are_answered_and_new_ones_are_not_taken() {
    let (arrived, gate) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
    let shared = (Arc::clone(&arrived), Arc::clone(&gate));
    let service = Running::start_with(
        HttpOptions::default(),
        move |config| {
            let (arrived, gate) = shared.clone();
            config.route(
                "/slow",
                web::get().to(move || {
                    let (arrived, gate) = (Arc::clone(&arrived), Arc::clone(&gate));
                    async move {
                        arrived.notify_one();
                        let _permit = gate.acquire().await.unwrap();
                        HttpResponse::Ok().body("done")
                    }
                }),
            );
        },
        |lifecycle| lifecycle,
    )
    .await;
    let in_flight = tokio::spawn(service.get("/slow").send());
    tokio::time::timeout(PATIENCE, arrived.notified()).await.unwrap();
    service.shutdown.cancel();
    tokio::time::timeout(PATIENCE, service.health.draining().cancelled()).await.unwrap();
    // The listener closes soon after; until then a connection may still be taken.
    let refused = async {
        while tokio::net::TcpStream::connect(service.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.unwrap();
    assert!(!service.served.is_finished());
    gate.add_permits(1);
    let answer = in_flight.await.unwrap().unwrap();
    assert_eq!(answer.text().await.unwrap(), "done");
    service.stop().await.unwrap();
}

#[tokio::test]
async fn a_request_that_never_ends_is_dropped_after_the_limit() {
    let arrived = Arc::new(Notify::new());
    let notify = Arc::clone(&arrived);
    let options = HttpOptions { drain: std::time::Duration::from_secs(1), ..HttpOptions::default() };
    let configure = move |config: &mut web::ServiceConfig| {
        let arrived = Arc::clone(&notify);
        config.route(
            "/forever",
            web::get().to(move || {
                let arrived = Arc::clone(&arrived);
                async move {
                    arrived.notify_one();
                    std::future::pending::<HttpResponse>().await
                }
            }),
        );
    };
    let service = Running::start_with(options, configure, |lifecycle| lifecycle).await;
    let in_flight = tokio::spawn(service.get("/forever").send());
    tokio::time::timeout(PATIENCE, arrived.notified()).await.unwrap();
    service.stop().await.unwrap();
    assert!(in_flight.await.unwrap().is_err());
}

#[tokio::test]
async fn a_service_stops_when_a_task_it_needs_fails() {
    let service = Running::start(|_| {}).await;
    service.tasks.spawn("relay", Policy::StopService, |_| async { Err(anyhow::anyhow!("the disk is full")) });
    let outcome = tokio::time::timeout(PATIENCE, service.served).await.unwrap().unwrap();
    let reason = format!("{:#}", outcome.unwrap_err());
    assert!(reason.contains("relay") && reason.contains("the disk is full"), "{reason}");
}

#[tokio::test]
async fn a_service_stops_when_a_server_ends_by_itself() {
    let (health, tasks) = (Health::new("test", "1"), TaskSet::new());
    let lifecycle = Lifecycle::new("test", health, tasks, ShutdownConfig::default())
        .server("broken", |_| async { Err(anyhow::anyhow!("no more sockets")) });
    let outcome = tokio::time::timeout(PATIENCE, lifecycle.run(CancellationToken::new())).await.unwrap();
    assert!(format!("{:#}", outcome.unwrap_err()).contains("no more sockets"));
}

#[tokio::test]
async fn an_open_event_stream_does_not_hold_up_the_drain() {
    use futures::StreamExt;

    let configure = |config: &mut web::ServiceConfig| {
        config.route(
            "/events",
            web::get().to(|| async {
                let first = futures::stream::iter([Ok::<_, actix_web::Error>(web::Bytes::from("data: 1\n\n"))]);
                HttpResponse::Ok().content_type("text/event-stream").streaming(first.chain(futures::stream::pending()))
            }),
        );
    };
    let service = Running::start(configure).await;
    let mut events = service.get("/events").send().await.unwrap().bytes_stream();
    assert_eq!(events.next().await.unwrap().unwrap(), "data: 1\n\n");
    service.shutdown.cancel();
    let end = tokio::time::timeout(PATIENCE, events.next()).await.unwrap();
    assert!(end.is_none(), "the stream ends as if it were complete: {end:?}");
    service.stop().await.unwrap();
}
