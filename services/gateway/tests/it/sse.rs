use std::{net::SocketAddr, sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use http::{Response, request::Builder};
use http_body_util::BodyExt;
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sker_types::{Role, new_id};
use tokio::net::TcpStream;

use crate::support::{Platform, empty, request, soon};

/// An event stream as a browser reads it.
struct Stream {
    response: Response<Incoming>,
    text: String,
}

impl Stream {
    async fn open(address: SocketAddr, request: Builder) -> Stream {
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let response = soon(sender.send_request(request.body(empty()).unwrap())).await.unwrap();
        Stream { response, text: String::new() }
    }

    async fn piece(&mut self) -> Option<Bytes> {
        soon(self.response.body_mut().frame()).await?.ok()?.into_data().ok()
    }

    /// The next event: its name, its id, its data. `None` at the end.
    async fn next(&mut self) -> Option<(String, String, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let line = event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                    line.unwrap_or_default().to_owned()
                };
                let found = (field("event"), field("id"), field("data"));
                self.text = rest.to_owned();
                if !found.2.is_empty() {
                    return Some((found.0, found.1, serde_json::from_str(&found.2).unwrap()));
                }
                continue;
            }
            let piece = self.piece().await?;
            self.text.push_str(std::str::from_utf8(&piece).unwrap());
        }
    }
}

#[tokio::test]
async fn a_stream_tells_the_same_events_and_resumes_after_the_last_one_seen() {
    let platform = Platform::start().await;
    let token = platform.token(Role::User);
    let path = format!("/api/v1/events?channel=project:p&token={token}");
    let mut stream = Stream::open(platform.address, request("GET", &path)).await;
    assert_eq!(stream.response.status(), 200);
    assert_eq!(stream.response.headers()["content-type"], "text/event-stream");
    let first = platform.happen("project:p", 1).await;
    let (name, id, data) = stream.next().await.unwrap();
    assert_eq!((name.as_str(), id), ("ai_task.progress", first.seq.to_string()));
    assert_eq!(data, serde_json::to_value(&first).unwrap());
    drop(stream);
    platform.log_only("project:p", 2).await;
    platform.log_only("project:p", 3).await;
    let again = request("GET", &path).header("last-event-id", first.seq.to_string());
    let mut stream = Stream::open(platform.address, again).await;
    let after = format!("/api/v1/events?channel=project:p&after={}", first.seq);
    let with_header = request("GET", &after).header("authorization", format!("Bearer {token}"));
    let mut other = Stream::open(platform.address, with_header).await;
    for number in [2, 3] {
        assert_eq!(stream.next().await.unwrap().2["data"]["n"], number);
        assert_eq!(other.next().await.unwrap().2["data"]["n"], number);
    }
    let late = request("GET", &path).header("last-event-id", (first.seq + 1_000).to_string());
    let mut stream = Stream::open(platform.address, late).await;
    assert_eq!(stream.next().await.unwrap().0, "reset");
    platform.happen("project:p", 4).await;
    assert_eq!(stream.next().await.unwrap().2["data"]["n"], 4);
}

#[tokio::test]
async fn a_stream_is_refused_for_the_same_reasons_as_a_subscription() {
    let platform = Platform::start().await;
    let token = platform.token(Role::User);
    for (path, token, code) in [
        ("/api/v1/events?channel=project:p", None, "unauthenticated"),
        ("/api/v1/events?channel=project:p&token=bad", None, "unauthenticated"),
        ("/api/v1/events?channel=project:secret", Some(&token), "not_found"),
        ("/api/v1/events", Some(&token), "validation_failed"),
        ("/api/v1/events?channel=project:p&after=-1", Some(&token), "validation_failed"),
        ("/api/v1/events?channel=project:p&colour=red", Some(&token), "unknown_field"),
    ] {
        assert_eq!(platform.get(path, token.map(String::as_str)).await.code(), code, "{path}");
    }
}

#[tokio::test]
async fn a_stream_ends_with_its_token() {
    let platform = Platform::start().await;
    let token = platform.token_for(new_id(), Role::User, Duration::from_secs(1));
    let path = format!("/api/v1/events?channel=project:p&token={token}");
    let mut stream = Stream::open(platform.address, request("GET", &path)).await;
    let (name, _, data) = stream.next().await.unwrap();
    assert_eq!((name.as_str(), &data["code"]), ("error", &json!("unauthenticated")));
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn a_quiet_stream_shows_that_it_is_alive_and_ends_at_shutdown() {
    let platform = Platform::with(&[("realtime.ping_ms", "20")]).await;
    let path = format!("/api/v1/events?channel=user:me&token={}", platform.token(Role::User));
    let mut stream = Stream::open(platform.address, request("GET", &path)).await;
    let mut heard = String::new();
    while !heard.contains("\n:\n") {
        heard.push_str(std::str::from_utf8(&stream.piece().await.unwrap()).unwrap());
    }
    platform.shut_down().await;
    while stream.piece().await.is_some() {}
}

#[tokio::test]
async fn a_stream_outlives_the_log_and_makes_up_for_what_it_missed() {
    let platform = Platform::with(&[("realtime.look_ms", "20")]).await;
    let path = format!("/api/v1/events?channel=project:p&token={}", platform.token(Role::User));
    let mut stream = Stream::open(platform.address, request("GET", &path)).await;
    platform.log_cut.store(true, Ordering::SeqCst);
    let refused = platform.get(&path, None).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (503, "unavailable"));
    assert!(refused.headers.contains_key("retry-after"));
    platform.log_only("project:p", 1).await;
    platform.happen("project:p", 2).await;
    platform.log_cut.store(false, Ordering::SeqCst);
    for number in [1, 2] {
        assert_eq!(stream.next().await.unwrap().2["data"]["n"], number);
    }
}

#[tokio::test]
async fn a_slow_reader_of_a_stream_is_told_so_and_is_out() {
    let platform = Platform::with(&[("realtime.queue", "16"), ("realtime.close_ms", "60000")]).await;
    let path = format!("/api/v1/events?channel=project:p&token={}", platform.token(Role::User));
    let mut stream = Stream::open(platform.address, request("GET", &path)).await;
    // Far more than what the connection's buffers hold.
    let filler = "x".repeat(100_000);
    for number in 1..=200_u64 {
        platform.happen_with("project:p", json!({"n": number, "filler": filler})).await;
    }
    let (mut names, mut numbers) = (Vec::new(), Vec::new());
    while let Some((name, _, data)) = stream.next().await {
        names.push(name);
        numbers.extend(data["data"]["n"].as_u64());
        if names.last().is_some_and(|name| name == "error") {
            assert_eq!(data["code"], "unavailable");
        }
    }
    assert_eq!(names.last().unwrap(), "error");
    assert!(numbers.len() < 200);
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "nothing is left out before");
}
