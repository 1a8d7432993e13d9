use std::{sync::Arc, time::Duration};

use http::Response;
use serde_json::json;
use sker_api::PLATFORM_GROUP;
use sker_cache::MemoryLogOptions;
use sker_types::Role;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
};

use crate::support::{Platform, Upstream, soon, text, until};

#[tokio::test]
async fn the_gateway_registers_itself_and_deregisters_first() {
    let platform = Platform::start().await;
    let registry = Arc::clone(&platform.registry);
    until(|| async { !registry.registered().is_empty() }).await;
    let own = registry.registered().remove(0);
    assert_eq!((own.service_name.as_str(), own.group_name.as_str()), ("gateway", PLATFORM_GROUP));
    assert_eq!(own.port_number, u32::from(platform.address.port()));
    platform.shut_down().await;
    assert_eq!(registry.deregistered(), [own.instance_id]);
}

#[tokio::test]
async fn requests_that_come_before_the_first_routes_wait_for_them() {
    let upstream = Upstream::start(|_| async { Response::new(text("served")) }).await;
    let platform = Arc::new(Platform::deaf(&[], MemoryLogOptions::default()).await);
    let routes = json!([{"path": "/early", "auth": "none"}]);
    platform.registry.upsert(platform.instance("s", upstream.address, routes));
    let request = tokio::spawn({
        let platform = Arc::clone(&platform);
        async move { platform.get("/early", None).await }
    });
    // It is asked before it knows anything; and if it should be asked after that, it answers the same.
    tokio::time::sleep(Duration::from_millis(100)).await;
    platform.registry.speak();
    assert_eq!(soon(request).await.unwrap().text(), "served");
    Arc::into_inner(platform).unwrap().shut_down().await;
}

#[tokio::test]
async fn a_client_that_has_just_connected_when_the_gateway_stops_is_answered() {
    let platform = Platform::start().await;
    let mut stream = TcpStream::connect(platform.address).await.unwrap();
    platform.stop.cancel();
    until(|| async { TcpStream::connect(platform.address).await.is_err() }).await;
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.to_lowercase().contains("\r\nconnection: close\r\n"), "{answer}");
    platform.shut_down().await;
}

#[tokio::test]
async fn what_is_in_flight_is_finished_and_nothing_new_is_taken() {
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let upstream = Upstream::start({
        let (begun, go) = (Arc::clone(&begun), Arc::clone(&go));
        move |request| {
            let (begun, go) = (Arc::clone(&begun), Arc::clone(&go));
            async move {
                if request.uri().path() == "/slow" {
                    begun.notify_one();
                    go.notified().await;
                }
                Response::new(text("finished"))
            }
        }
    })
    .await;
    let platform = Arc::new(Platform::start().await);
    platform.serve("s", upstream.address, json!([{"path": "/slow", "auth": "none"}])).await;
    let request = tokio::spawn({
        let platform = Arc::clone(&platform);
        async move { platform.get("/slow", None).await.text() }
    });
    soon(begun.notified()).await;
    platform.stop.cancel();
    until(|| async { TcpStream::connect(platform.address).await.is_err() }).await;
    assert!(!platform.running.is_finished());
    go.notify_one();
    assert_eq!(soon(request).await.unwrap(), "finished");
    Arc::into_inner(platform).unwrap().shut_down().await;
}

#[tokio::test]
async fn sockets_are_told_that_the_gateway_goes_away() {
    let platform = Platform::start().await;
    let mut socket = platform.socket(&platform.token(Role::User)).await;
    socket.ask(json!({"type": "subscribe", "channel": "project:p"})).await;
    platform.stop.cancel();
    let (_, close) = socket.rest().await;
    assert_eq!(u16::from(close.unwrap().code), 1001);
    platform.shut_down().await;
}

#[tokio::test]
async fn a_drain_does_not_wait_for_ever() {
    let upstream = Upstream::start(|_| std::future::pending::<Response<crate::support::TestBody>>()).await;
    let platform = Arc::new(Platform::with(&[("shutdown.drain_ms", "100")]).await);
    platform.serve("s", upstream.address, json!([{"path": "/stuck", "auth": "none"}])).await;
    let address = platform.address;
    let stuck = tokio::spawn(async move {
        let head = "GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n";
        crate::support::raw(address, head.as_bytes()).await
    });
    until(|| async { upstream.connections() >= 1 }).await;
    Arc::into_inner(platform).unwrap().shut_down().await;
    assert_eq!(soon(stuck).await.unwrap(), "");
}
