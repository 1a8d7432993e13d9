use std::time::{Duration, Instant};

use sker_error::{Error, Result};
use sker_types::{Principal, new_id};

/// How long a call may take when its caller does not say.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(30);

/// Who calls, on whose behalf, and until when: travels with every call, in HTTP headers and gRPC metadata alike.
#[derive(Clone, Debug)]
pub struct Ctx {
    /// Who makes the call.
    pub principal: Principal,
    /// Whose data in the registry; `default` elsewhere.
    pub tenant: String,
    /// Names the request in logs and errors.
    pub request_id: String,
    /// When the answer is of no more use.
    pub deadline: Option<Instant>,
    /// The caller's place in the trace, W3C `traceparent`.
    pub traceparent: Option<String>,
}

impl Ctx {
    /// A call by `principal` with the default deadline.
    pub fn new(principal: Principal) -> Self {
        Ctx {
            principal,
            tenant: "default".to_owned(),
            request_id: new_id().to_string(),
            deadline: Some(Instant::now() + DEFAULT_DEADLINE),
            traceparent: sker_telemetry::trace::current_traceparent(),
        }
    }

    /// A call that a service makes for itself.
    pub fn service(name: &str) -> Self {
        Ctx::new(Principal::service(name))
    }

    /// The same, to be answered within `timeout` or the deadline there was, whichever is sooner.
    pub fn within(mut self, timeout: Duration) -> Self {
        let deadline = Instant::now() + timeout;
        self.deadline = Some(self.deadline.map_or(deadline, |earlier| earlier.min(deadline)));
        self
    }

    /// The same without a deadline, for streams that live as long as both ends do.
    pub fn unbounded(mut self) -> Self {
        self.deadline = None;
        self
    }

    /// What is left until the deadline; zero when it has passed, `None` without one.
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Runs a call under the deadline. The call is dropped when time is up.
    pub async fn bound<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        match self.remaining() {
            None => call.await,
            // Such a call is not even begun; the timer below would let it run as far as it gets without waiting.
            Some(left) if left.is_zero() => Err(past_deadline()),
            Some(left) => tokio::time::timeout(left, call).await.unwrap_or_else(|_| Err(past_deadline())),
        }
    }
}

fn past_deadline() -> Error {
    Error::timeout("the deadline passed before there was an answer")
}

#[cfg(test)]
mod tests {
    use sker_error::Code;

    use super::*;

    #[tokio::test]
    async fn a_call_past_its_deadline_is_not_even_begun() {
        let ctx = Ctx::service("test").within(Duration::ZERO);
        let mut begun = false;
        let call = async {
            begun = true;
            Ok(())
        };
        assert_eq!(ctx.bound(call).await.unwrap_err().code(), Code::Timeout);
        assert!(!begun);
    }
}
