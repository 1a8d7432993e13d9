use std::{
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::{
    body::{BodySize, BoxBody, MessageBody},
    dev::ServiceResponse,
    http::header::CONTENT_TYPE,
    web::Bytes,
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Whether the answer is a stream of server-sent events, which lasts as long as its client does.
pub(super) fn is_event_stream(response: &ServiceResponse<BoxBody>) -> bool {
    let kind = response.headers().get(CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}

/// A body that ends when the service is going to stop. The client connects again, to another replica; without this, one open
/// stream would hold the drain up to its limit.
pub(super) struct UntilDraining {
    inner: BoxBody,
    draining: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl UntilDraining {
    pub(super) fn new(inner: BoxBody, draining: CancellationToken) -> Self {
        UntilDraining { inner, draining: Box::pin(draining.cancelled_owned()) }
    }
}

impl MessageBody for UntilDraining {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.inner.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        // What is there already is sent first.
        if let Poll::Ready(next) = Pin::new(&mut self.inner).poll_next(context) {
            return Poll::Ready(next);
        }
        self.draining.as_mut().poll(context).map(|()| None)
    }
}
