use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_util::task::AbortOnDropHandle;

use crate::support::{Platform, Upstream, request, send, text};

/// A port that nobody listens on.
async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// A service that answers so many requests of each connection and hangs up in the middle of the next.
struct Fickle {
    address: SocketAddr,
    heard: Arc<AtomicUsize>,
    _task: AbortOnDropHandle<()>,
}

impl Fickle {
    async fn start(answers: usize) -> Fickle {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&heard);
        let task = tokio::spawn(async move {
            loop {
                let Ok((mut stream, _)) = listener.accept().await else { return };
                let count = Arc::clone(&count);
                tokio::spawn(async move {
                    for turn in 0..=answers {
                        let mut head = Vec::new();
                        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                            let mut byte = [0; 256];
                            match stream.read(&mut byte).await {
                                Ok(0) | Err(_) => return,
                                Ok(length) => head.extend_from_slice(&byte[..length]),
                            }
                        }
                        let document = head.starts_with(b"GET /openapi.json");
                        if !document {
                            count.fetch_add(1, Ordering::SeqCst);
                        }
                        if turn == answers || document {
                            return;
                        }
                        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
                    }
                });
            }
        });
        Fickle { address, heard, _task: AbortOnDropHandle::new(task) }
    }

    fn heard(&self) -> usize {
        self.heard.load(Ordering::SeqCst)
    }
}

fn routes(retries: u32) -> Value {
    json!([{"path": "/f", "auth": "none", "retries": retries}])
}

#[tokio::test]
async fn an_instance_that_refuses_connections_is_passed_over() {
    let (platform, alive) = (Platform::start().await, Upstream::saying("alive").await);
    platform.serve("f", nobody().await, routes(0)).await;
    platform.serve("f", alive.address, routes(0)).await;
    for _ in 0..6 {
        let answer =
            send(platform.address, request("POST", "/f").body(text("not idempotent, but never sent")).unwrap());
        assert_eq!(answer.await.text(), "alive");
    }
    let listed = platform.routes().await;
    let instances = listed["routes"][0]["instances"].as_array().unwrap();
    let reachable: Vec<&Value> = instances.iter().map(|instance| &instance["reachable"]).collect();
    assert_eq!(reachable, [&json!(false), &json!(true)]);
}

#[tokio::test]
async fn a_service_with_no_reachable_instance_is_a_503() {
    let platform = Platform::start().await;
    platform.serve("f", nobody().await, routes(3)).await;
    for _ in 0..2 {
        let answer = platform.get("/f", None).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (503, "unavailable"));
        assert!(answer.headers.contains_key("retry-after"));
    }
}

#[tokio::test]
async fn requests_are_spread_over_the_instances() {
    let (one, two) = (Upstream::saying("one").await, Upstream::saying("two").await);
    let platform = Platform::start().await;
    platform.serve("f", one.address, routes(0)).await;
    platform.serve("f", two.address, routes(0)).await;
    let mut answers = Vec::new();
    for _ in 0..10 {
        answers.push(platform.get("/f", None).await.text());
    }
    assert_eq!(answers.iter().filter(|answer| *answer == "one").count(), 5);
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_costs_nothing() {
    let fickle = Fickle::start(1).await;
    let platform = Platform::with(&[("http.workers", "1")]).await;
    platform.serve("f", fickle.address, routes(0)).await;
    // Every second request finds a used connection on which the service hangs up.
    for _ in 0..6 {
        let answer = platform.get("/f", None).await;
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "ok"));
    }
}

#[tokio::test]
async fn what_may_have_been_done_is_not_sent_twice() {
    let fickle = Fickle::start(0).await;
    let platform = Platform::start().await;
    platform.serve("f", fickle.address, routes(3)).await;
    let answer = send(platform.address, request("POST", "/f").body(text("pay 100")).unwrap()).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (502, "bad_gateway"));
    assert_eq!(fickle.heard(), 1);
    let answer = platform.get("/f", None).await;
    assert_eq!(answer.status, 502);
    assert_eq!(fickle.heard(), 1 + 4, "a read is tried as often as the route says");
}

#[tokio::test]
async fn nonsense_from_a_service_is_a_502() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let _task = AbortOnDropHandle::new(tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.6\r\n").await;
        }
    }));
    let platform = Platform::start().await;
    platform.serve("f", address, routes(0)).await;
    let answer = platform.get("/f", None).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (502, "bad_gateway"));
    assert!(!answer.text().contains("SSH"));
}
