use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full, combinators::BoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

pub type TestBody = BoxBody<Bytes, Infallible>;

pub fn text(text: impl Into<String>) -> TestBody {
    Full::new(Bytes::from(text.into())).boxed()
}

pub fn empty() -> TestBody {
    Empty::new().boxed()
}

/// A service behind the gateway. Dropping it closes its port and its connections.
pub struct Upstream {
    pub address: SocketAddr,
    pub connections: Arc<AtomicUsize>,
    _accepting: AbortOnDropHandle<()>,
}

impl Upstream {
    pub async fn start<F, Fut>(handler: F) -> Upstream
    where
        F: Fn(Request<Incoming>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Response<TestBody>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let accepting = tokio::spawn(async move {
            let mut serving = tokio::task::JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                count.fetch_add(1, Ordering::SeqCst);
                let handler = handler.clone();
                let service = service_fn(move |request| {
                    let answer = handler(request);
                    async move { Ok::<_, Infallible>(answer.await) }
                });
                let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                serving.spawn(connection.with_upgrades());
            }
        });
        Upstream { address, connections, _accepting: AbortOnDropHandle::new(accepting) }
    }

    /// Answers every request with a text.
    pub async fn saying(words: &'static str) -> Upstream {
        Upstream::start(move |_| async move { Response::new(text(words)) }).await
    }

    /// Answers with what it was sent: the request line and the headers, one per line, and the body.
    pub async fn echo() -> Upstream {
        Upstream::start(|request| async move {
            let mut seen = format!("{} {}\n", request.method(), request.uri());
            for (name, value) in request.headers() {
                seen.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
            }
            let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            seen.push_str(&format!("\n{}", String::from_utf8_lossy(&body)));
            Response::new(text(seen))
        })
        .await
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}
