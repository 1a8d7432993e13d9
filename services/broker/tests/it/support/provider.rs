use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt, channel::mpsc};
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::sync::Notify;
use url::Url;

/// What the provider does with a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A stream of these pieces, each sent on its own, this long apart; then the end.
    Stream(Vec<String>, Duration),
    /// These pieces, then the connection breaks.
    Cut(Vec<String>),
    /// These pieces, then nothing for ever.
    Stall(Vec<String>),
    /// A status with headers and a body.
    Status(u16, Vec<(&'static str, String)>, String),
    /// A whole answer as JSON.
    Json(Value),
}

/// Requests so far: the Authorization header and the body.
type Requests = Arc<Mutex<Vec<(Option<String>, Value)>>>;

/// An OpenAI-compatible server of the tests' own.
pub struct Provider {
    pub url: Url,
    requests: Requests,
    /// Told when a client goes away in the middle of a stream.
    pub gone: Arc<Notify>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Provider {
    /// A server that answers one request after another as the script says; the last reply is repeated.
    pub async fn start(script: Vec<Reply>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap()).parse().unwrap();
        let script = Arc::new(Mutex::new(VecDeque::from(script)));
        let requests = Requests::default();
        let gone = Arc::new(Notify::new());
        let shared = (script, Arc::clone(&requests), Arc::clone(&gone));
        let server = tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (script, requests, gone) = shared.clone();
                tokio::spawn(async move {
                    let answer = service_fn(move |request| {
                        answer(request, Arc::clone(&script), Arc::clone(&requests), Arc::clone(&gone))
                    });
                    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(socket), answer).await;
                });
            }
        });
        Provider { url, requests, gone, server }
    }

    /// The requests so far: the Authorization header and the body.
    pub fn requests(&self) -> Vec<(Option<String>, Value)> {
        self.requests.lock().unwrap().clone()
    }

    /// The events of a streamed answer: its pieces, the end, the usage, and `[DONE]`.
    pub fn events(pieces: &[&str]) -> Vec<String> {
        let event = |data: Value| format!("data: {data}\n\n");
        let delta = |text: &str| event(serde_json::json!({"choices": [{"delta": {"content": text}}]}));
        let mut events: Vec<String> = vec![": hello\n\n".to_owned()];
        events.extend(pieces.iter().map(|piece| delta(piece)));
        events.push(event(serde_json::json!({"choices": [{"delta": {}, "finish_reason": "stop"}]})));
        events.push(event(serde_json::json!({"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 7}})));
        events.push("data: [DONE]\n\n".to_owned());
        events
    }
}

type Body = http_body_util::combinators::BoxBody<Bytes, std::io::Error>;

async fn answer(
    request: Request<Incoming>,
    script: Arc<Mutex<VecDeque<Reply>>>,
    requests: Requests,
    gone: Arc<Notify>,
) -> Result<Response<Body>, Infallible> {
    assert_eq!(request.uri().path(), "/v1/chat/completions");
    let key = request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
    let body = request.into_body().collect().await.unwrap().to_bytes();
    requests.lock().unwrap().push((key, serde_json::from_slice(&body).unwrap()));
    let reply = {
        let mut script = script.lock().unwrap();
        if script.len() > 1 { script.pop_front().unwrap() } else { script.front().unwrap().clone() }
    };
    let full =
        |text: String| http_body_util::Full::new(Bytes::from(text)).map_err(|never: Infallible| match never {}).boxed();
    let (pieces, pause, then) = match reply {
        Reply::Status(status, headers, text) => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            return Ok(response.body(full(text)).unwrap());
        }
        Reply::Json(value) => {
            let response = Response::builder().header("content-type", "application/json; charset=utf-8");
            return Ok(response.body(full(value.to_string())).unwrap());
        }
        Reply::Stream(pieces, pause) => (pieces, pause, Then::End),
        Reply::Cut(pieces) => (pieces, Duration::ZERO, Then::Break),
        Reply::Stall(pieces) => (pieces, Duration::ZERO, Then::Wait),
    };
    let (mut sender, receiver) = mpsc::channel::<Result<Frame<Bytes>, std::io::Error>>(0);
    tokio::spawn(async move {
        use futures::SinkExt;
        for piece in pieces {
            if sender.send(Ok(Frame::data(Bytes::from(piece)))).await.is_err() {
                return gone.notify_one();
            }
            tokio::time::sleep(pause).await;
        }
        match then {
            Then::End => {}
            Then::Break => drop(sender.send(Err(std::io::Error::other("cut"))).await),
            Then::Wait => {
                // The channel is closed when the server has noticed that the client is gone.
                while !sender.is_closed() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                gone.notify_one();
            }
        }
    });
    let body: Body = BodyExt::boxed(StreamBody::new(receiver.map(|frame| frame)));
    Ok(Response::builder().header("content-type", "text/event-stream").body(body).unwrap())
}

enum Then {
    End,
    Break,
    Wait,
}
