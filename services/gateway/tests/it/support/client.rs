use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, request::Builder};
use http_body_util::BodyExt;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{TestBody, soon};

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: Option<HeaderMap>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Its error code.
    pub fn code(&self) -> String {
        assert_eq!(self.headers["content-type"], "application/problem+json");
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

pub fn request(method: &str, path: &str) -> Builder {
    Request::builder().method(method).uri(path).header("host", "gateway.test")
}

/// Sends a request on a connection of its own and reads the whole answer.
pub async fn send(address: SocketAddr, request: Request<TestBody>) -> Answer {
    soon(async {
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let (parts, body) = sender.send_request(request).await.expect("the gateway answers").into_parts();
        let body = body.collect().await.expect("the answer comes to its end");
        let trailers = body.trailers().cloned();
        Answer { status: parts.status, headers: parts.headers, body: body.to_bytes(), trailers }
    })
    .await
}

/// Writes bytes as they are and reads until the gateway closes.
pub async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    soon(async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        // A reset after the answer is as good as an end.
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    })
    .await
}
