//! Sends a request to one of a route's instances, and to another when that is safe.

use std::{fmt, rc::Rc, sync::Arc, time::Duration};

use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use sker_error::{Code, Error, Result};
use tokio::time::{Instant, sleep_until};

use super::{
    Body, BodyFault, Connection, Pool, RequestBody, Transfer, connect::connect, pool::Returned, tunnel::Tunnels,
};
use crate::app::{headers::clean_response, instance::Upstream, table::Route};

/// Instances of a route that are tried for one request. One that cannot be reached has seen nothing of it, so trying the
/// next is always safe: after a crash several dead registrations may stand beside the living one until their leases end.
/// The request's own time bounds it too.
const MOST_INSTANCES: usize = 16;

/// How long things may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// To open a connection.
    pub connect: Duration,
    /// Until an answer begins, on routes that do not say.
    pub answer: Duration,
    /// Silence within an answer's body.
    pub idle: Duration,
    /// How long an instance is passed over that could not be reached; doubles with each failure.
    pub rest: Duration,
}

/// What sends requests on behalf of one thread.
#[derive(Debug)]
pub struct Forward {
    /// Its connections.
    pub pool: Rc<Pool>,
    /// Its limits.
    pub limits: Limits,
    /// Connections that have become something other than HTTP.
    pub tunnels: Tunnels,
}

/// Why one attempt gave no answer.
enum Failure {
    /// Nothing of the request was sent; here it is again.
    Unsent(Box<Request<RequestBody>>, hyper::Error),
    /// It was sent, at least in part.
    Lost(hyper::Error),
    /// Time is up.
    Late,
}

impl Forward {
    /// Sends a request and answers when the upstream's answer begins. `upgrade` is the client's side of a connection that it
    /// wants to use for another protocol.
    pub async fn send(
        &self,
        route: &Route,
        request: Request<RequestBody>,
        upgrade: Option<OnUpgrade>,
    ) -> Result<Response<Body>> {
        let transfer = request.body().transfer();
        let repeatable = request.body().is_empty() && is_idempotent(request.method()) && upgrade.is_none();
        let clock = Clock {
            limit: route.spec.timeout.unwrap_or(self.limits.answer),
            transfer: &transfer,
            began: Instant::now(),
        };
        let mut request = Box::new(request);
        let mut tried = Vec::new();
        let mut stale_retries = 1;
        let mut retries = route.spec.retries;
        loop {
            let (upstream, connection) = self.connection(route, &mut tried, &clock).await?;
            let reused = connection.reused;
            let spare = (repeatable && (reused || retries > 0)).then(|| copy(&request));
            request.headers_mut().insert(header::HOST, upstream.authority.clone());
            match exchange(connection, *request, &clock).await {
                Ok((response, connection)) => {
                    let returned = Returned::new(&self.pool, upstream.key, connection);
                    return self.answer(response, returned, upgrade);
                }
                Err(Failure::Late) => return Err(late()),
                Err(Failure::Unsent(unsent, _)) if reused => request = unsent,
                Err(Failure::Unsent(unsent, cause)) => {
                    tried.push(upstream.key);
                    if tried.len() >= MOST_INSTANCES.min(route.upstreams.len()) {
                        return Err(bad_gateway(cause));
                    }
                    request = unsent;
                }
                Err(Failure::Lost(cause)) => {
                    if let Some(fault) = transfer.fault.get() {
                        return Err(body_error(fault));
                    }
                    // The instance may have closed an idle connection just as the request went out: that one retry is free.
                    let again = if reused && stale_retries > 0 { &mut stale_retries } else { &mut retries };
                    match spare {
                        Some(spare) if *again > 0 => {
                            *again -= 1;
                            request = spare;
                        }
                        _ => return Err(bad_gateway(cause)),
                    }
                }
            }
        }
    }

    /// A connection to the next instance: an idle one, or a new one. Instances that cannot be reached are passed over.
    async fn connection(
        &self,
        route: &Route,
        tried: &mut Vec<u64>,
        clock: &Clock<'_>,
    ) -> Result<(Arc<Upstream>, Connection)> {
        let mut cause = None;
        while tried.len() < MOST_INSTANCES
            && let Some(upstream) = route.pick(tried)
        {
            if let Some(connection) = self.pool.take(upstream.key) {
                return Ok((Arc::clone(upstream), connection));
            }
            let limit = self.limits.connect.min(clock.left());
            match connect(upstream, limit).await {
                Ok(connection) => {
                    upstream.mark_reachable();
                    return Ok((Arc::clone(upstream), connection));
                }
                // The request's time is up, which says nothing about the instance.
                Err(_) if clock.left().is_zero() => return Err(late()),
                Err(error) => {
                    upstream.mark_unreachable(self.limits.rest);
                    tracing::warn!(
                        instance = upstream.instance_id,
                        service = route.owner.service,
                        error = %error,
                        "an instance cannot be reached"
                    );
                    tried.push(upstream.key);
                    cause = Some(error);
                }
            }
        }
        let error = Error::unavailable("no instance of the service can be reached now");
        Err(match cause {
            Some(cause) => error.with_cause(cause),
            None => error,
        })
    }

    fn answer(
        &self,
        mut response: Response<Incoming>,
        connection: Returned,
        upgrade: Option<OnUpgrade>,
    ) -> Result<Response<Body>> {
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            // Until this answer both sides spoke HTTP; only now does the connection become theirs (CVE-2026-2833).
            let Some(client) = upgrade else {
                return Err(Error::new(Code::BadGateway, "the service changed the protocol without being asked"));
            };
            let protocol = response.headers().get(header::UPGRADE).cloned();
            self.tunnels.join(client, hyper::upgrade::on(&mut response));
            let mut response = response.map(|_| Body::full(""));
            clean_response(response.headers_mut());
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            response.headers_mut().insert(header::UPGRADE, protocol.unwrap_or(HeaderValue::from_static("websocket")));
            return Ok(response);
        }
        clean_response(response.headers_mut());
        *response.version_mut() = Version::HTTP_11;
        Ok(response.map(|body| Body::proxied(body, connection, self.limits.idle)))
    }
}

/// The time an upstream has until its answer begins. While a request's body is still moving it is not waiting yet.
struct Clock<'a> {
    limit: Duration,
    transfer: &'a Transfer,
    began: Instant,
}

impl Clock<'_> {
    fn end(&self) -> Instant {
        let from = if self.transfer.begun.get() { self.transfer.moved.get().max(self.began) } else { self.began };
        from + self.limit
    }

    fn left(&self) -> Duration {
        self.end().saturating_duration_since(Instant::now())
    }
}

async fn exchange(
    mut connection: Connection,
    request: Request<RequestBody>,
    clock: &Clock<'_>,
) -> Result<(Response<Incoming>, Connection), Failure> {
    let sent = connection.sender.try_send_request(request);
    tokio::pin!(sent);
    let timer = sleep_until(clock.end());
    tokio::pin!(timer);
    let answered = loop {
        tokio::select! {
            biased;
            answered = &mut sent => break answered,
            () = &mut timer => {
                let end = clock.end();
                if end <= Instant::now() {
                    return Err(Failure::Late);
                }
                timer.as_mut().reset(end);
            }
        }
    };
    match answered {
        Ok(response) => Ok((response, connection)),
        Err(mut failed) => Err(match failed.take_message() {
            Some(request) => Failure::Unsent(Box::new(request), failed.into_error()),
            None => Failure::Lost(failed.into_error()),
        }),
    }
}

fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE)
}

/// The same request once more. Its body is empty, so the head is all there is.
fn copy(request: &Request<RequestBody>) -> Box<Request<RequestBody>> {
    let mut copy = Request::new(RequestBody::empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Box::new(copy)
}

fn late() -> Error {
    Error::timeout("the service did not answer in time")
}

fn bad_gateway(cause: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(Code::BadGateway, "the service gave no usable answer").with_cause(cause)
}

fn body_error(fault: BodyFault) -> Error {
    match fault {
        BodyFault::TooLarge => Error::new(Code::PayloadTooLarge, fault.to_string()),
        BodyFault::Stalled | BodyFault::Broken => Error::invalid_request(fault.to_string()),
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Failure::Unsent(..) => "Unsent",
            Failure::Lost(_) => "Lost",
            Failure::Late => "Late",
        })
    }
}
