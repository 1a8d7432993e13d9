//! New connections to instances.

use std::{io, time::Duration};

use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use sker_error::{Code, Error, Result};
use tokio::net::TcpStream;

use super::{Connection, RequestBody};
use crate::app::instance::Upstream;

/// Opens a connection. An error means that nothing of a request was sent.
pub(super) async fn connect(upstream: &Upstream, limit: Duration) -> io::Result<Connection> {
    let stream = open(upstream, limit).await?;
    let mut builder = http1::Builder::new();
    builder.max_buf_size(128 * 1024);
    let (sender, connection) =
        builder.handshake::<_, RequestBody>(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // It lives as long as somebody holds the sender, or an upgraded stream; both end with the worker at the latest. A
    // failure shows where the answer is awaited.
    tokio::task::spawn_local(async move {
        let _ = connection.with_upgrades().await;
    });
    Ok(Connection { sender, reused: false })
}

async fn open(upstream: &Upstream, limit: Duration) -> io::Result<TcpStream> {
    let connecting = TcpStream::connect((upstream.host.as_str(), upstream.port));
    let stream = tokio::time::timeout(limit, connecting)
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no connection in time"))??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Fetches a small document from an instance, on a connection of its own.
pub async fn get(upstream: &Upstream, path: &str, limit: Duration, most_bytes: usize) -> Result<Bytes> {
    let fetch = async {
        let stream =
            open(upstream, limit).await.map_err(|cause| Error::unavailable("no connection").with_cause(cause))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let uri: Uri = path.parse().map_err(|_| Error::invalid_request("not a path"))?;
        let request = Request::get(uri).header(header::HOST, upstream.authority.clone()).body(Empty::<Bytes>::new());
        let request = request.map_err(Error::internal)?;
        // The connection is driven here, beside the request, and ends with it.
        let exchange = async {
            let response = sender.send_request(request).await.map_err(broken)?;
            if !response.status().is_success() {
                return Err(Error::new(Code::BadGateway, format!("answered {}", response.status())));
            }
            let body = Limited::new(response.into_body(), most_bytes).collect().await;
            body.map(|body| body.to_bytes())
                .map_err(|cause| Error::new(Code::BadGateway, "no document").with_cause(cause))
        };
        tokio::pin!(exchange, connection);
        tokio::select! {
            biased;
            answer = &mut exchange => answer,
            ended = &mut connection => match ended {
                // What was read before the end may still be waiting to be taken.
                Ok(()) => exchange.await,
                Err(cause) => Err(broken(cause)),
            },
        }
    };
    tokio::time::timeout(limit, fetch).await.unwrap_or_else(|_| Err(Error::timeout("no answer in time")))
}

fn broken(cause: hyper::Error) -> Error {
    Error::new(Code::BadGateway, "the upstream gave no usable answer").with_cause(cause)
}
