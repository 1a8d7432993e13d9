//! Bodies as they pass through: frame by frame, counted and timed, never gathered.

use std::{
    cell::Cell,
    fmt,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::{
    sync::mpsc,
    time::{Instant, Sleep, sleep_until},
};

use super::pool::Returned;
use crate::app::headers::clean_trailers;

/// Why a request's body came to no good end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFault {
    /// It is larger than allowed.
    TooLarge,
    /// The sender went silent.
    Stalled,
    /// The connection it came on broke, or it was not well-formed.
    Broken,
}

impl fmt::Display for BodyFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            BodyFault::TooLarge => "the body is larger than is accepted here",
            BodyFault::Stalled => "the body stopped coming",
            BodyFault::Broken => "the body broke off",
        })
    }
}

impl std::error::Error for BodyFault {}

/// A timer that costs nothing until somebody has to wait.
#[derive(Debug)]
struct Patience {
    limit: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    waiting_since: Option<Instant>,
}

impl Patience {
    fn new(limit: Duration) -> Self {
        Patience { limit, sleep: None, waiting_since: None }
    }

    fn moved(&mut self) {
        self.waiting_since = None;
    }

    /// Nothing came: whether it has been too long.
    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        let until = since + self.limit;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if sleep.deadline() != until {
            sleep.as_mut().reset(until);
        }
        sleep.as_mut().poll(context).is_ready()
    }
}

/// What is known of a request's body while it is on its way to the upstream.
#[derive(Debug)]
pub struct Transfer {
    /// When it last moved.
    pub moved: Cell<Instant>,
    /// Why it failed, if it did.
    pub fault: Cell<Option<BodyFault>>,
    /// Whether anything was taken from it: then the request cannot be sent a second time.
    pub begun: Cell<bool>,
}

/// A request's body on its way to an upstream.
#[derive(Debug)]
pub struct RequestBody {
    inner: Option<Incoming>,
    left: u64,
    patience: Patience,
    transfer: Rc<Transfer>,
}

impl RequestBody {
    /// A body of at most `limit` bytes whose sender may be silent for `idle`.
    pub fn new(inner: Incoming, limit: u64, idle: Duration) -> Self {
        let transfer =
            Rc::new(Transfer { moved: Cell::new(Instant::now()), fault: Cell::new(None), begun: Cell::new(false) });
        // A body that has ended already needs nothing of all this, and can be sent as often as one likes.
        let inner = (!http_body::Body::is_end_stream(&inner)).then_some(inner);
        RequestBody { inner, left: limit, patience: Patience::new(idle), transfer }
    }

    /// An empty body.
    pub fn empty() -> Self {
        let transfer =
            Rc::new(Transfer { moved: Cell::new(Instant::now()), fault: Cell::new(None), begun: Cell::new(false) });
        RequestBody { inner: None, left: 0, patience: Patience::new(Duration::ZERO), transfer }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.inner.is_none()
    }

    /// What is known of it, also after it was given away.
    pub fn transfer(&self) -> Rc<Transfer> {
        Rc::clone(&self.transfer)
    }

    fn fail(&mut self, fault: BodyFault) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        self.transfer.fault.set(Some(fault));
        self.inner = None;
        Poll::Ready(Some(Err(fault)))
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let this = &mut *self;
        let Some(inner) = &mut this.inner else { return Poll::Ready(None) };
        this.transfer.begun.set(true);
        let frame = match Pin::new(inner).poll_frame(context) {
            Poll::Ready(frame) => frame,
            Poll::Pending if this.patience.is_over(context) => return this.fail(BodyFault::Stalled),
            Poll::Pending => return Poll::Pending,
        };
        this.patience.moved();
        this.transfer.moved.set(Instant::now());
        match frame {
            None => {
                this.inner = None;
                Poll::Ready(None)
            }
            Some(Err(_)) => this.fail(BodyFault::Broken),
            Some(Ok(mut frame)) => {
                if let Some(data) = frame.data_ref() {
                    match this.left.checked_sub(data.len() as u64) {
                        Some(left) => this.left = left,
                        None => return this.fail(BodyFault::TooLarge),
                    }
                } else if let Some(trailers) = frame.trailers_mut() {
                    clean_trailers(trailers);
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or(SizeHint::with_exact(0), http_body::Body::size_hint)
    }
}

/// The body of an answer to a client.
#[derive(Debug)]
pub enum Body {
    /// The gateway's own words.
    Full(Full<Bytes>),
    /// What an upstream sends, as it sends it.
    Proxied(Proxied),
    /// What the gateway has to say from time to time.
    Events(mpsc::Receiver<Bytes>),
}

impl Body {
    /// A body of these bytes.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Body::Full(Full::new(bytes.into()))
    }

    pub(crate) fn proxied(inner: Incoming, connection: Returned, idle: Duration) -> Self {
        let mut body = Proxied { inner, connection: Some(connection), patience: Patience::new(idle) };
        body.give_back_at_end();
        Body::Proxied(body)
    }
}

/// A body that comes from an upstream. When it has come to its end, its connection may serve another request.
#[derive(Debug)]
pub struct Proxied {
    inner: Incoming,
    connection: Option<Returned>,
    patience: Patience,
}

impl Proxied {
    fn give_back_at_end(&mut self) {
        if http_body::Body::is_end_stream(&self.inner)
            && let Some(connection) = self.connection.take()
        {
            connection.give_back();
        }
    }

    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let frame = match http_body::Body::poll_frame(Pin::new(&mut self.inner), context) {
            Poll::Ready(frame) => frame,
            Poll::Pending if self.patience.is_over(context) => {
                self.connection = None;
                return Poll::Ready(Some(Err(BodyFault::Stalled)));
            }
            Poll::Pending => return Poll::Pending,
        };
        self.patience.moved();
        Poll::Ready(match frame {
            None => {
                if let Some(connection) = self.connection.take() {
                    connection.give_back();
                }
                None
            }
            Some(Err(_)) => {
                self.connection = None;
                Some(Err(BodyFault::Broken))
            }
            Some(Ok(mut frame)) => {
                if let Some(trailers) = frame.trailers_mut() {
                    clean_trailers(trailers);
                }
                self.give_back_at_end();
                Some(Ok(frame))
            }
        })
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        match &mut *self {
            Body::Full(full) => match ready!(Pin::new(full).poll_frame(context)) {
                Some(Ok(frame)) => Poll::Ready(Some(Ok(frame))),
                // A body in memory cannot fail.
                Some(Err(never)) => match never {},
                None => Poll::Ready(None),
            },
            Body::Proxied(proxied) => proxied.poll_frame(context),
            Body::Events(events) => events.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Full(full) => full.is_end_stream(),
            Body::Proxied(proxied) => http_body::Body::is_end_stream(&proxied.inner),
            Body::Events(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Full(full) => full.size_hint(),
            Body::Proxied(proxied) => http_body::Body::size_hint(&proxied.inner),
            Body::Events(_) => SizeHint::default(),
        }
    }
}
