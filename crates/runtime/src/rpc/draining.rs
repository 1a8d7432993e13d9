use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;
use tower::{Layer, Service};

/// How long a stream may go on when the server stops. What ends by itself does so in this time; a watch never would.
const GRACE: Duration = Duration::from_millis(500);

/// Ends response streams when the server stops. Without it one open watch would hold the drain up to its limit.
#[derive(Clone)]
pub(super) struct EndStreams {
    stop: CancellationToken,
}

impl EndStreams {
    pub(super) fn new(stop: CancellationToken) -> Self {
        EndStreams { stop }
    }
}

impl<S> Layer<S> for EndStreams {
    type Service = EndStreamsService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        EndStreamsService { inner, stop: self.stop.clone() }
    }
}

#[derive(Clone)]
pub(super) struct EndStreamsService<S> {
    inner: S,
    stop: CancellationToken,
}

impl<S, I, O> Service<Request<I>> for EndStreamsService<S>
where
    S: Service<Request<I>, Response = Response<O>>,
    S::Future: Send + 'static,
{
    type Response = Response<DrainingBody<O>>;
    type Error = S::Error;
    type Future = futures::future::BoxFuture<'static, Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<I>) -> Self::Future {
        let response = self.inner.call(request);
        let stop = self.stop.clone();
        Box::pin(async move { Ok(response.await?.map(|body| DrainingBody::new(body, stop))) })
    }
}

/// A response body that ends when the server stops.
pub(super) struct DrainingBody<B> {
    inner: Pin<Box<B>>,
    state: State,
}

enum State {
    Running(Pin<Box<WaitForCancellationFutureOwned>>),
    Grace(Pin<Box<Sleep>>),
    Ended,
}

impl<B> DrainingBody<B> {
    fn new(inner: B, stop: CancellationToken) -> Self {
        DrainingBody { inner: Box::pin(inner), state: State::Running(Box::pin(stop.cancelled_owned())) }
    }
}

impl<B: Body> Body for DrainingBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        if matches!(self.state, State::Ended) {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = self.inner.as_mut().poll_frame(context) {
            return Poll::Ready(frame);
        }
        if let State::Running(stopped) = &mut self.state
            && stopped.as_mut().poll(context).is_ready()
        {
            self.state = State::Grace(Box::pin(tokio::time::sleep(GRACE)));
        }
        if let State::Grace(grace) = &mut self.state
            && grace.as_mut().poll(context).is_ready()
        {
            self.state = State::Ended;
            let mut trailers = HeaderMap::new();
            return match Status::unavailable("the server is stopping").add_header(&mut trailers) {
                Ok(()) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                Err(_) => Poll::Ready(None),
            };
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Ended) || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
