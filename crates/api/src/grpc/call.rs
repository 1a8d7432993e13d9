//! How a client makes a call: with a deadline, in a span of its own, and again when that is safe.

use std::{
    error::Error as StdError,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt as _, stream::BoxStream};
use sker_error::{Code, Result};
use sker_traffic::Backoff;
use tonic::{Request, Response, Status, Streaming};
use tracing::{Instrument as _, Span, field::Empty};

use super::{ClientAuth, from_status};
use crate::Ctx;

/// How long a call may take when its caller does not say.
const DEADLINE: Duration = Duration::from_secs(10);

/// How often a call is made at most.
const MOST_TRIES: u32 = 3;

/// What is called, and whether saying it twice does no more than saying it once.
#[derive(Clone, Copy)]
pub(super) struct Method {
    /// `sker.store.v1.TaskService`
    pub service: &'static str,
    /// `claim_tasks`
    pub name: &'static str,
    /// Whether it may be repeated when the first call may have had its effect.
    pub repeatable: bool,
}

/// Makes the calls of one client. Clones share the budget for repetitions.
#[derive(Clone)]
pub(super) struct Caller {
    auth: ClientAuth,
    budget: Arc<Budget>,
}

impl Caller {
    pub(super) fn new(auth: ClientAuth) -> Self {
        Caller { auth, budget: Arc::default() }
    }

    /// Makes a call, under the context's deadline or else [`DEADLINE`]. It is made again when the service is away, as long as
    /// time and budget last, and only when that cannot do anything twice: the method is repeatable, or nothing was sent.
    pub(super) async fn call<Q, R, Fut>(
        &self,
        ctx: &Ctx,
        method: Method,
        message: Q,
        send: impl Fn(Request<Q>) -> Fut,
    ) -> Result<R>
    where
        Q: Clone,
        Fut: Future<Output = Result<Response<R>, Status>>,
    {
        let ctx = with_deadline(ctx);
        let span = span(method, &ctx);
        let answer = self.tries(&ctx, method, message, send).instrument(span.clone()).await;
        if let Err(error) = &answer {
            span.record("rpc.grpc.status_code", error.code().grpc_code());
            span.record("otel.status_code", "ERROR");
        }
        answer
    }

    async fn tries<Q, R, Fut>(
        &self,
        ctx: &Ctx,
        method: Method,
        message: Q,
        send: impl Fn(Request<Q>) -> Fut,
    ) -> Result<R>
    where
        Q: Clone,
        Fut: Future<Output = Result<Response<R>, Status>>,
    {
        let backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        let mut tries = 0;
        loop {
            // Built anew each time: less is left of the deadline, and the token may have been renewed.
            let request = self.auth.request(ctx, message.clone())?;
            let mut sent = true;
            let call = async {
                send(request).await.map_err(|status| {
                    sent = !is_unsent(&status);
                    from_status(status)
                })
            };
            let error = match ctx.bound(call).await {
                Ok(response) => {
                    self.budget.succeeded();
                    return Ok(response.into_inner());
                }
                Err(error) => error,
            };
            tries += 1;
            let away = error.code() == Code::Unavailable;
            let affordable = !away || self.budget.failed();
            if !away || !affordable || tries >= MOST_TRIES || (sent && !method.repeatable) {
                return Err(error);
            }
            let asked = Duration::from_millis(error.retry_after_ms().unwrap_or(0));
            let wait = backoff.delay(tries - 1).max(asked);
            if ctx.remaining().is_some_and(|left| left <= wait) {
                return Err(error);
            }
            tracing::debug!(error = %error, tries, "the service is away; calling again");
            tokio::time::sleep(wait).await;
        }
    }
}

/// The items of an answer, the last of which must have come when the deadline passes. An error is the last that comes.
pub(super) fn until_deadline<T: Send + 'static>(ctx: Ctx, items: Streaming<T>) -> BoxStream<'static, Result<T>> {
    let next = move |items: Option<Streaming<T>>| {
        let ctx = ctx.clone();
        async move {
            let mut items = items?;
            let next = ctx.bound(async { items.next().await.transpose().map_err(from_status) }).await;
            next.transpose().map(|item| {
                let rest = item.is_ok().then_some(items);
                (item, rest)
            })
        }
    };
    futures::stream::unfold(Some(items), next).boxed()
}

/// The same context, with [`DEADLINE`] if it has none.
pub(super) fn with_deadline(ctx: &Ctx) -> Ctx {
    match ctx.deadline {
        Some(_) => ctx.clone(),
        None => ctx.clone().within(DEADLINE),
    }
}

/// A span as OpenTelemetry's conventions for RPC have it.
fn span(method: Method, ctx: &Ctx) -> Span {
    let name = pascal_case(method.name);
    let span = tracing::info_span!(
        "grpc.call",
        otel.name = format!("{}/{name}", method.service),
        otel.kind = "client",
        otel.status_code = Empty,
        rpc.system = "grpc",
        rpc.service = method.service,
        rpc.method = name,
        rpc.grpc.status_code = Empty,
        request_id = %ctx.request_id,
    );
    // A call that is made outside of any span, by a context that was taken along, still belongs to the trace.
    if sker_telemetry::trace::current_traceparent().is_none()
        && let Some(traceparent) = &ctx.traceparent
    {
        sker_telemetry::trace::set_parent(&span, traceparent);
    }
    span
}

/// `claim_tasks` as the protocol has it: `ClaimTasks`.
pub(super) fn pascal_case(name: &str) -> String {
    let capitalised = |word: &str| match word.split_at_checked(1) {
        Some((first, rest)) => first.to_ascii_uppercase() + rest,
        None => String::new(),
    };
    name.split('_').map(capitalised).collect()
}

/// Whether there was not even a connection, so that nothing can have come of the call.
fn is_unsent(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

/// Keeps repetitions from making things worse when everything fails, as gRFC A6 ("retry throttling") does: a failure costs a
/// token, a success gives a tenth of one back, and with half of them gone nothing is repeated.
#[derive(Debug)]
struct Budget {
    /// In tenths.
    tokens: AtomicU32,
}

impl Budget {
    const MOST: u32 = 200;
    const FAILURE: u32 = 10;

    /// Pays for a failure and says whether another try can be afforded.
    fn failed(&self) -> bool {
        let pay = |tokens: u32| Some(tokens.saturating_sub(Self::FAILURE));
        let before = self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay).unwrap_or_default();
        before.saturating_sub(Self::FAILURE) > Self::MOST / 2
    }

    fn succeeded(&self) {
        // Read first: with nothing to give back, callers on several threads write nothing.
        if self.tokens.load(Ordering::Relaxed) < Self::MOST {
            let earn = |tokens: u32| Some((tokens + 1).min(Self::MOST));
            let _ = self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, earn);
        }
    }
}

impl Default for Budget {
    fn default() -> Self {
        Budget { tokens: AtomicU32::new(Self::MOST) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_named_as_the_protocol_names_them() {
        assert_eq!(pascal_case("claim_tasks"), "ClaimTasks");
        assert_eq!(pascal_case("watch"), "Watch");
    }

    #[tokio::test]
    async fn a_call_to_a_port_where_nobody_listens_was_certainly_not_sent() {
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let channel = crate::grpc::channel(&format!("http://{address}")).unwrap();
        let mut client = sker_proto::store::task_service_client::TaskServiceClient::new(channel);
        assert!(is_unsent(&client.create_task(Request::new(Default::default())).await.unwrap_err()));
        assert!(!is_unsent(&Status::unavailable("said the service")));
    }

    #[test]
    fn when_everything_fails_nothing_is_repeated_until_enough_succeeds() {
        let budget = Budget::default();
        let afforded = std::iter::repeat_with(|| budget.failed()).take_while(|afforded| *afforded).count();
        assert_eq!(afforded, 9);
        for _ in 0..10 {
            assert!(!budget.failed());
        }
        for _ in 0..Budget::MOST {
            budget.succeeded();
        }
        assert!(budget.failed());
    }
}
