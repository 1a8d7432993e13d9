use std::{sync::atomic::Ordering, time::Duration};

use futures::StreamExt as _;
use sker_api::{Ctx, Registry as _, Store as _};
use sker_error::Code;
use sker_proto::{
    registry::WatchRequest,
    store::{CancelTaskRequest, ClaimTasksRequest, CreateTaskRequest, GetNodesRequest},
};
use tokio::time::timeout;
use tracing::Instrument as _;

use crate::{
    network::Network,
    server::{PATIENCE, Service, free, registry, serve_registry, serve_store, store},
};

fn ctx() -> Ctx {
    Ctx::service("gateway")
}

fn creation(key: &str) -> CreateTaskRequest {
    CreateTaskRequest { idempotency_key: key.to_owned(), ..CreateTaskRequest::default() }
}

#[tokio::test]
async fn a_service_that_is_not_there_is_unavailable_and_not_waited_for() {
    let address = free().local_addr().unwrap();
    // The deadline is far beyond the tests' patience.
    let ctx = ctx().unbounded().within(PATIENCE * 10);
    let error = timeout(PATIENCE, store(address).claim_tasks(&ctx, ClaimTasksRequest::default())).await.unwrap();
    assert_eq!(error.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn a_client_finds_its_service_again_after_a_restart() {
    let (service, listener) = (Service::new(), free());
    let address = listener.local_addr().unwrap();
    let (server, client) = (serve_store(&service, listener), store(address));
    client.claim_tasks(&ctx(), ClaimTasksRequest::default()).await.unwrap();
    server.kill();
    let away = client.claim_tasks(&ctx(), ClaimTasksRequest::default()).await.unwrap_err();
    assert_eq!(away.code(), Code::Unavailable);

    let listener = timeout(PATIENCE, async {
        loop {
            match std::net::TcpListener::bind(address) {
                Ok(listener) => return listener,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    });
    let _server = serve_store(&service, listener.await.unwrap());
    client.claim_tasks(&ctx(), ClaimTasksRequest::default()).await.unwrap();
}

#[tokio::test]
async fn what_the_service_could_not_do_just_now_is_tried_again_with_less_time_each() {
    let (service, listener) = (Service::new(), free());
    let client = store(listener.local_addr().unwrap());
    let _server = serve_store(&service, listener);
    service.away.store(2, Ordering::SeqCst);
    client.claim_tasks(&ctx().unbounded(), ClaimTasksRequest::default()).await.unwrap();
    let given: Vec<_> =
        service.calls.lock().unwrap().iter().map(|left| left.expect("every call has a deadline")).collect();
    assert!(given.len() == 3 && given.is_sorted_by(|a, b| a > b), "{given:?}");

    service.away.store(3, Ordering::SeqCst);
    let error = client.claim_tasks(&ctx(), ClaimTasksRequest::default()).await.unwrap_err();
    assert_eq!((error.code(), service.count()), (Code::Unavailable, 6), "it is not tried for ever");
}

#[tokio::test]
async fn a_call_whose_answer_is_lost_is_repeated_only_when_that_does_nothing_twice() {
    let (service, listener) = (Service::new(), free());
    let network = Network::to(listener.local_addr().unwrap()).await;
    let (client, _server) = (store(network.address), serve_store(&service, listener));
    network.lose_an_answer();
    let error = client.create_task(&ctx(), creation("")).await.unwrap_err();
    assert_eq!((error.code(), service.count()), (Code::Unavailable, 1), "it may have been created");
    network.lose_an_answer();
    client.create_task(&ctx(), creation("a key")).await.unwrap();
    assert_eq!(service.count(), 3, "the second of two with a key is known to be one");
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_any_more_ends_at_the_service_too() {
    let (service, listener) = (Service::new(), free());
    let client = store(listener.local_addr().unwrap());
    let _server = serve_store(&service, listener);
    let late = client.cancel_task(&ctx().within(Duration::from_millis(300)), CancelTaskRequest::default()).await;
    assert_eq!(late.unwrap_err().code(), Code::Timeout);
    timeout(PATIENCE, service.dropped.acquire()).await.unwrap().unwrap().forget();

    let given_up = tokio::spawn(async move { client.cancel_task(&ctx(), CancelTaskRequest::default()).await });
    timeout(PATIENCE, async {
        while service.count() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    given_up.abort();
    timeout(PATIENCE, service.dropped.acquire()).await.unwrap().unwrap().forget();
}

#[tokio::test]
async fn a_stream_that_stalls_ends_with_the_deadline() {
    let (service, listener) = (Service::new(), free());
    let client = store(listener.local_addr().unwrap());
    let _server = serve_store(&service, listener);
    let ctx = ctx().within(Duration::from_millis(500));
    let items = client.get_nodes(&ctx, GetNodesRequest::default()).await.unwrap();
    let items: Vec<_> = timeout(PATIENCE, items.collect()).await.unwrap();
    assert!(items[0].is_ok() && items.len() == 2, "{items:?}");
    assert_eq!(items[1].as_ref().unwrap_err().code(), Code::Timeout);
}

#[tokio::test]
async fn a_watch_outlives_its_callers_deadline_and_ends_when_the_other_side_has_vanished() {
    let (service, listener) = (Service::new(), free());
    let network = Network::to(listener.local_addr().unwrap()).await;
    let (client, _server) = (registry(network.address), serve_registry(&service, listener));
    let mut watch = client.watch(&ctx().within(Duration::from_secs(2)), WatchRequest::default()).await.unwrap();
    timeout(PATIENCE, watch.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(service.calls.lock().unwrap()[0], None, "no deadline is sent along with a watch");
    // No packet comes any more, not even one that says so: only the keep-alive can tell. That takes longer than the deadline.
    network.freeze();
    let error = timeout(PATIENCE, watch.next()).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.code(), Code::Unavailable, "{error:?}");
}

#[tokio::test]
async fn a_call_is_a_span_of_its_own_in_its_callers_trace() {
    let _telemetry = sker_telemetry::init("test", &sker_telemetry::TelemetryConfig::default()).unwrap();
    let (service, listener) = (Service::new(), free());
    let client = store(listener.local_addr().unwrap());
    let _server = serve_store(&service, listener);
    let span = tracing::info_span!("action");
    let caller = sker_telemetry::trace::traceparent_of(&span).unwrap();
    let taken_along = span.in_scope(ctx);
    client.claim_tasks(&ctx(), ClaimTasksRequest::default()).instrument(span).await.unwrap();
    let inside = service.traceparent.lock().unwrap().take().unwrap();
    client.claim_tasks(&taken_along, ClaimTasksRequest::default()).await.unwrap();
    let outside = service.traceparent.lock().unwrap().take().unwrap();
    for arrived in [inside, outside] {
        assert_eq!(arrived[..35], caller[..35], "the trace goes on");
        assert_ne!(arrived, caller, "from the call's own span");
    }
}
