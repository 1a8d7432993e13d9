use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::json;
use sker_types::Role;
use tokio::{net::TcpStream, sync::mpsc};

use crate::support::{Platform, TestBody, Upstream, empty, request, send, soon, text};

/// A body that comes as it is sent through the channel.
fn channel() -> (mpsc::Sender<Frame<Bytes>>, TestBody) {
    let (sender, receiver) = mpsc::channel::<Frame<Bytes>>(1);
    let frames = futures::stream::unfold(receiver, |mut receiver| async {
        Some((Ok::<_, Infallible>(receiver.recv().await?), receiver))
    });
    (sender, StreamBody::new(frames).boxed())
}

#[tokio::test]
async fn a_request_reaches_its_service_with_path_query_headers_and_body() {
    let (platform, upstream) = (Platform::start().await, Upstream::echo().await);
    let routes = json!([{"path": "/shop/*", "auth": "none", "strip_prefix": "/shop", "rewrite_prefix": "/v2"}]);
    platform.serve("shop", upstream.address, routes).await;
    let sent = request("POST", "/shop/cart/7?x=%2F&y=1").header("x-own", "kept").body(text("a body")).unwrap();
    let answer = send(platform.address, sent).await;
    assert_eq!(answer.status, 200);
    let seen = answer.text();
    assert!(seen.starts_with("POST /v2/cart/7?x=%2F&y=1\n"), "{seen}");
    assert!(seen.contains("\nx-own: kept\n") && seen.ends_with("\n\na body"), "{seen}");
    assert!(seen.contains(&format!("\nhost: {}\n", upstream.address)), "{seen}");
    assert!(answer.headers.contains_key("x-request-id"));
}

#[tokio::test]
async fn bodies_flow_in_both_directions_at_once() {
    // The service answers each piece of the request as it comes. Were either body gathered, nobody would move.
    let upstream = Upstream::start(|request| async move {
        let (sender, body) = channel();
        tokio::spawn(async move {
            let mut incoming = request.into_body();
            while let Some(Ok(frame)) = incoming.frame().await {
                if let Ok(data) = frame.into_data() {
                    sender.send(Frame::data(data)).await.unwrap();
                }
            }
        });
        Response::new(body)
    })
    .await;
    let platform = Platform::start().await;
    platform.serve("echo", upstream.address, json!([{"path": "/echo", "auth": "none"}])).await;
    let stream = TcpStream::connect(platform.address).await.unwrap();
    let (mut client, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let (sender, body) = channel();
    let answer = soon(client.send_request(request("POST", "/echo").body(body).unwrap())).await.unwrap();
    let mut answer = answer.into_body();
    for piece in ["one", "two", "three"] {
        sender.send(Frame::data(piece.into())).await.unwrap();
        let heard = soon(answer.frame()).await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(heard, piece);
    }
    drop(sender);
    assert!(soon(answer.frame()).await.is_none());
}

#[tokio::test]
async fn a_large_body_passes_both_ways_unchanged() {
    let upstream = Upstream::start(|request| async move {
        let body = request.into_body().map_err(|error| panic!("the body breaks: {error}"));
        Response::new(body.boxed())
    })
    .await;
    let platform = Platform::start().await;
    platform.serve("echo", upstream.address, json!([{"path": "/echo", "auth": "none"}])).await;
    let large: String = (0..400_000).map(|number| format!("{number:09},")).collect();
    for _ in 0..2 {
        let sent = request("PUT", "/echo").body(text(large.clone())).unwrap();
        let answer = send(platform.address, sent).await;
        assert!(answer.body == large.as_bytes(), "4 MB come back as they were sent");
    }
}

#[tokio::test]
async fn trailers_are_kept_in_both_directions() {
    let upstream = Upstream::start(|request| async move {
        let collected = request.into_body().collect().await.unwrap();
        let sum = collected.trailers().and_then(|trailers| trailers.get("x-sum")).cloned();
        let (sender, body) = channel();
        tokio::spawn(async move {
            sender.send(Frame::data("data".into())).await.unwrap();
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", sum.unwrap_or(http::HeaderValue::from_static("none")));
            trailers.insert("x-sker-role", http::HeaderValue::from_static("admin"));
            sender.send(Frame::trailers(trailers)).await.unwrap();
        });
        Response::builder().header("trailer", "grpc-status, x-sker-role").body(body).unwrap()
    })
    .await;
    let platform = Platform::start().await;
    platform.serve("rpc", upstream.address, json!([{"path": "/rpc", "auth": "none"}])).await;
    let (sender, body) = channel();
    tokio::spawn(async move {
        sender.send(Frame::data("x".into())).await.unwrap();
        let trailers = HeaderMap::from_iter([(http::HeaderName::from_static("x-sum"), "42".parse().unwrap())]);
        sender.send(Frame::trailers(trailers)).await.unwrap();
    });
    let sent = request("POST", "/rpc").header("te", "trailers").header("trailer", "x-sum").body(body).unwrap();
    let trailers = send(platform.address, sent).await.trailers.expect("there are trailers");
    assert_eq!(trailers["grpc-status"], "42");
    assert!(!trailers.contains_key("x-sker-role"), "internal names are no trailers");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_announced_or_not() {
    let platform = Platform::with(&[("http.body_limit_bytes", "100000")]).await;
    let upstream = Upstream::echo().await;
    platform.serve("echo", upstream.address, json!([{"path": "/echo", "auth": "none"}])).await;
    let announced = request("POST", "/echo").body(text("x".repeat(100_001))).unwrap();
    let answer = send(platform.address, announced).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (413, "payload_too_large"));
    let (sender, body) = channel();
    tokio::spawn(async move {
        // The gateway stops reading somewhere on the way.
        for _ in 0..20 {
            if sender.send(Frame::data(vec![b'x'; 10_000].into())).await.is_err() {
                break;
            }
        }
    });
    let answer = send(platform.address, request("POST", "/echo").body(body).unwrap()).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (413, "payload_too_large"));
    let exact = request("POST", "/echo").body(text("x".repeat(100_000))).unwrap();
    assert_eq!(send(platform.address, exact).await.status, 200);
}

#[tokio::test]
async fn a_service_that_does_not_answer_is_a_504() {
    let upstream = Upstream::start(|_| std::future::pending::<Response<TestBody>>()).await;
    let platform = Platform::start().await;
    let routes = json!([{"path": "/slow", "auth": "none", "timeout_ms": 50}]);
    platform.serve("slow", upstream.address, routes).await;
    let answer = platform.get("/slow", None).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (504, "timeout"));
}

#[tokio::test]
async fn a_client_that_stops_in_the_middle_of_its_body_is_not_waited_for() {
    let upstream = Upstream::echo().await;
    let platform = Platform::with(&[("limits.body_idle_ms", "50")]).await;
    platform.serve("echo", upstream.address, json!([{"path": "/echo", "auth": "none"}])).await;
    let (sender, body) = channel();
    sender.send(Frame::data("half".into())).await.unwrap();
    let answer = send(platform.address, request("POST", "/echo").body(body).unwrap()).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "invalid_request"));
    drop(sender);
}

#[tokio::test]
async fn nothing_behind_a_route_is_a_503_that_says_when_to_come_again() {
    let platform = Platform::start().await;
    let answer = platform.get("/api/v1/projects", None).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (503, "unavailable"));
    assert!(answer.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 1);
    let upstream = Upstream::saying("here").await;
    let store = platform.serve("store", upstream.address, json!([{"path": "/api/v1/*", "auth": "none"}])).await;
    assert_eq!(platform.get("/api/v1/projects", None).await.text(), "here");
    platform.registry.remove(&store.instance_id);
    crate::support::until(|| async { platform.get("/api/v1/projects", None).await.status == 503 }).await;
    let unknown = platform.get("/elsewhere", None).await;
    assert_eq!((unknown.status.as_u16(), unknown.code().as_str()), (404, "not_found"));
}

#[tokio::test]
async fn another_method_is_a_405_that_names_those_that_are_taken() {
    let (platform, upstream) = (Platform::start().await, Upstream::saying("read").await);
    platform.serve("r", upstream.address, json!([{"path": "/r/*", "methods": ["GET"], "auth": "none"}])).await;
    let answer = send(platform.address, request("DELETE", "/r/1").body(empty()).unwrap()).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (405, "method_not_allowed"));
    assert_eq!(answer.headers["allow"], "GET, HEAD");
    let head = send(platform.address, request("HEAD", "/r/1").body(empty()).unwrap()).await;
    assert_eq!(
        (head.status.as_u16(), head.headers["content-length"].to_str().unwrap(), head.body.len()),
        (200, "4", 0)
    );
}

#[tokio::test]
async fn a_http2_client_is_served_too() {
    let (platform, upstream) = (Platform::start().await, Upstream::echo().await);
    platform.serve("echo", upstream.address, json!([{"path": "/echo", "auth": "none"}])).await;
    let stream = TcpStream::connect(platform.address).await.unwrap();
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut client, connection) = hyper::client::conn::http2::handshake(executor, TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let sent = http::Request::post(format!("http://{}/echo?q=1", platform.address)).body(text("over h2")).unwrap();
    let answer = soon(client.send_request(sent)).await.unwrap();
    assert_eq!(answer.status(), 200);
    let seen = String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
    assert!(seen.starts_with("POST /echo?q=1\n") && seen.ends_with("\nover h2"), "{seen}");
}

#[tokio::test]
async fn a_connection_to_a_service_is_used_again() {
    let upstream = Upstream::saying("again").await;
    let platform = Platform::with(&[("http.workers", "1")]).await;
    platform.serve("s", upstream.address, json!([{"path": "/s", "auth": "none"}])).await;
    // The service's API document is fetched first, on a connection of its own.
    crate::support::until(|| async { upstream.connections() == 1 }).await;
    for _ in 0..20 {
        assert_eq!(platform.get("/s", None).await.text(), "again");
    }
    assert_eq!(upstream.connections(), 2);
}

#[tokio::test]
async fn a_websocket_of_a_service_passes_through() {
    use futures::{SinkExt, StreamExt};
    use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::Role as Side};

    let upstream = Upstream::start(|mut request| async move {
        let upgrade = hyper::upgrade::on(&mut request);
        let request = request.map(|_| ());
        let answer = tokio_tungstenite::tungstenite::handshake::server::create_response_with_body(&request, empty);
        tokio::spawn(async move {
            let upgraded = TokioIo::new(upgrade.await.unwrap());
            let mut socket = WebSocketStream::from_raw_socket(upgraded, Side::Server, None).await;
            while let Some(Ok(message)) = socket.next().await {
                if message.is_text() {
                    socket.send(message).await.unwrap();
                }
            }
        });
        answer.unwrap()
    })
    .await;
    let platform = Platform::start().await;
    platform.serve("chat", upstream.address, json!([{"path": "/chat", "auth": "none"}])).await;
    let mut socket = crate::support::Socket::open(platform.address, "/chat").await.unwrap();
    assert_eq!(socket.ask(json!({"hello": 1})).await, json!({"hello": 1}));
}

#[tokio::test]
async fn many_requests_at_once_are_all_answered() {
    let (platform, upstream) = (Arc::new(Platform::start().await), Upstream::echo().await);
    platform.serve("echo", upstream.address, json!([{"path": "/echo/*"}])).await;
    let token = platform.token(Role::User);
    let requests = (0..200).map(|number| {
        let (platform, token) = (Arc::clone(&platform), token.clone());
        tokio::spawn(async move {
            let answer = platform.get(&format!("/echo/{number}"), Some(&token)).await;
            assert!(answer.text().starts_with(&format!("GET /echo/{number}\n")), "{}", answer.text());
        })
    });
    for request in requests.collect::<Vec<_>>() {
        request.await.unwrap();
    }
}
