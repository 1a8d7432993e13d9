use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::FutureExt;
use serde_json::Value;
use sker_api::Ctx;
use sker_error::{Code, Error, Result};
use sker_proto::store::{CompleteTaskRequest, FailTaskRequest, ReleaseTasksRequest, Task, Usage as UsageMessage};
use sker_traffic::Backoff;
use tracing::Instrument;

use super::{
    job::{Prepared, Unprepared, prepare_job},
    reporter::Reporter,
    running::{Running, StopReason},
    worker::Broker,
};
use crate::engines::{EngineError, Failure, Output, Usage};

/// How long a call of the store may take.
const CALL_DEADLINE: Duration = Duration::from_secs(10);
/// How long the nodes of a task may take to arrive.
const FETCH_DEADLINE: Duration = Duration::from_secs(60);
/// An internal error of the store is repeated so often; one that is away is waited for without end.
const INTERNAL_ERRORS: u32 = 5;

/// A claimed task.
pub(super) struct Claimed {
    pub(super) task: Task,
    pub(super) running: Arc<Running>,
    /// The trace of the message that named it.
    pub(super) traceparent: Option<String>,
}

/// How an attempt ended.
enum Ending {
    Completed(Output),
    Failed(Failure),
    Stopped(StopReason),
}

/// Forgets a claim when it is dropped.
struct Held<'a> {
    broker: &'a Broker,
    running: &'a Arc<Running>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.broker.running().remove(self.running);
        self.broker.metrics().running.dec();
    }
}

impl Broker {
    /// Runs a claimed task to its end, and tells the store.
    pub(super) async fn run_claimed(&self, claimed: Claimed) {
        let Claimed { task, running, traceparent } = claimed;
        let span =
            tracing::info_span!("ai_task", task.id = %running.id, task.kind = running.kind, task.epoch = running.epoch);
        if let Some(traceparent) = &traceparent {
            sker_telemetry::trace::set_parent(&span, traceparent);
        }
        // Also when something here panics: a claim that nobody works on must not be renewed.
        let _held = Held { broker: self, running: &running };
        self.run_and_tell(&task, &running).instrument(span).await;
    }

    async fn run_and_tell(&self, task: &Task, running: &Running) {
        let ctx = Ctx::service("broker").unbounded();
        let ending = self.attempt(&ctx, task, running).await;
        running.set_worked();
        self.measure(running, &ending);
        match ending {
            Ending::Completed(output) => self.complete(&ctx, running, output).await,
            Ending::Failed(failure) => self.fail(&ctx, running, failure).await,
            Ending::Stopped(reason) => self.stopped(&ctx, running, reason).await,
        }
    }

    /// One attempt, until it ends by itself, runs out of time or is stopped.
    async fn attempt(&self, ctx: &Ctx, task: &Task, running: &Running) -> Ending {
        let (reporter, sink) = Reporter::new(self.destinations(), self.metrics(), running, ctx);
        let done = reporter.done();
        let limit = match task.timeout_ms {
            0 => self.options().task_timeout,
            millis => Duration::from_millis(millis),
        };
        let work = async {
            let Prepared { engine, job } = match self.prepare(ctx, task).await {
                Ok(prepared) => prepared,
                Err(failure) => return Err(EngineError::Failed(failure)),
            };
            let engine = self.engines().choose(engine.as_deref())?;
            running.set_engine(engine.name());
            engine.run(job, sink, running.token().child_token()).await
        };
        let bounded = async {
            let outcome = tokio::time::timeout(limit, AssertUnwindSafe(work).catch_unwind()).await;
            done.cancel();
            match outcome {
                Ok(Ok(Ok(output))) => Ending::Completed(output),
                Ok(Ok(Err(EngineError::Failed(failure)))) => Ending::Failed(failure),
                Ok(Ok(Err(EngineError::Cancelled))) => {
                    Ending::Stopped(running.stop_reason().unwrap_or(StopReason::Taken))
                }
                Ok(Err(_)) => {
                    tracing::error!(engine = running.engine(), "the engine panicked");
                    Ending::Failed(Failure::permanent("engine_panicked", "the engine failed on this input"))
                }
                Err(_) => Ending::Failed(Failure::permanent("timeout", "the task took longer than it may")),
            }
        };
        tokio::select! {
            biased;
            reason = running.stopped() => Ending::Stopped(reason),
            (ending, ()) = async { tokio::join!(bounded, reporter.run()) } => ending,
        }
    }

    /// Reads the task's input; a store that is away is waited for.
    async fn prepare(&self, ctx: &Ctx, task: &Task) -> Result<Prepared, Failure> {
        let mut failures = 0;
        loop {
            let ctx = ctx.clone().within(FETCH_DEADLINE);
            match ctx.bound(async { Ok(prepare_job(self.store(), &ctx, task).await) }).await {
                Ok(Ok(prepared)) => return Ok(prepared),
                Ok(Err(Unprepared::Failure(failure))) => return Err(failure),
                Ok(Err(Unprepared::Store(error))) | Err(error) => {
                    if !worth_repeating(&error, failures) {
                        return Err(Failure::transient("engine_error", "the nodes of the task could not be read"));
                    }
                    tokio::time::sleep(store_backoff().delay(failures)).await;
                    failures = failures.saturating_add(1);
                }
            }
        }
    }

    async fn complete(&self, ctx: &Ctx, running: &Running, output: Output) {
        let request = CompleteTaskRequest {
            lease: Some(running.lease()),
            output_json: Value::Object(output.data).to_string(),
            usage: Some(usage_message(output.usage)),
        };
        let told = self.tell(ctx, running, "completed", |ctx| {
            let request = request.clone();
            async move { self.store().complete_task(&ctx, request).await.map(|_| ()) }
        });
        if let Err(error) = told.await {
            tracing::warn!(error = %error, "the store does not take the result");
            let failure = Failure::permanent("engine_error", "the result could not be stored");
            self.fail(ctx, running, failure.with_usage(output.usage)).await;
        }
    }

    async fn fail(&self, ctx: &Ctx, running: &Running, failure: Failure) {
        tracing::info!(code = failure.code, retryable = failure.retryable, "the attempt failed: {}", failure.message);
        let request = FailTaskRequest {
            lease: Some(running.lease()),
            code: failure.code.to_owned(),
            message: failure.message,
            retryable: failure.retryable,
            retry_after_ms: failure.retry_after_ms.unwrap_or_default(),
            usage: failure.usage.map(usage_message),
        };
        let told = self.tell(ctx, running, "failed", |ctx| {
            let request = request.clone();
            async move { self.store().fail_task(&ctx, request).await.map(|_| ()) }
        });
        if let Err(error) = told.await {
            tracing::error!(error = %error, "the store does not take the failure; the lease will run out");
        }
    }

    /// A task that was stopped from outside. Giving the claim back changes nothing when the store knows already, and helps
    /// when the cancellation was of an earlier run.
    async fn stopped(&self, ctx: &Ctx, running: &Running, reason: StopReason) {
        tracing::info!(reason = ?reason, "the task was stopped");
        if matches!(reason, StopReason::Taken | StopReason::TimedOut | StopReason::CutOff) {
            return;
        }
        let request = ReleaseTasksRequest { session_id: self.session_id(), leases: vec![running.lease()] };
        let ctx = ctx.clone().within(CALL_DEADLINE / 2);
        if let Err(error) = ctx.bound(self.store().release_tasks(&ctx, request)).await
            && reason == StopReason::Draining
        {
            tracing::warn!(error = %error, "an unfinished task could not be given back; its lease will run out");
        }
    }

    /// Tells the store an ending; while the store is away the result is kept, and told when it is back. Gives up when the
    /// claim is lost or the broker has to stop. An error is one that repeating does not mend.
    async fn tell<F, Fut>(&self, ctx: &Ctx, running: &Running, what: &str, call: F) -> Result<()>
    where
        F: Fn(Ctx) -> Fut,
        Fut: Future<Output = Result<()>>,
    {
        let mut failures = 0;
        loop {
            let ctx = ctx.clone().within(CALL_DEADLINE);
            let error = match ctx.bound(call(ctx.clone())).await {
                Ok(()) => {
                    self.note_store(true);
                    return Ok(());
                }
                Err(error) => error,
            };
            match error.code() {
                Code::Conflict | Code::NotFound | Code::Gone | Code::PreconditionFailed => {
                    tracing::info!(error = %error, "the task is not ours any more; it was {what} for nothing");
                    return Ok(());
                }
                _ if !worth_repeating(&error, failures) => return Err(error),
                _ => {}
            }
            self.note_store(false);
            if failures == 0 {
                tracing::warn!(error = %error, "the store cannot be told that the task {what}; keeping the result");
            }
            tokio::select! {
                biased;
                _ = running.stopped() => return Ok(()),
                () = tokio::time::sleep(store_backoff().delay(failures)) => {}
            }
            failures = failures.saturating_add(1);
        }
    }

    fn measure(&self, running: &Running, ending: &Ending) {
        let (outcome, usage) = match ending {
            Ending::Completed(output) => ("completed", Some(output.usage)),
            Ending::Failed(failure) if failure.code == "timeout" => ("timeout", failure.usage),
            Ending::Failed(failure) if failure.retryable => ("failed_retryable", failure.usage),
            Ending::Failed(failure) => ("failed", failure.usage),
            Ending::Stopped(StopReason::Cancelled) => ("cancelled", None),
            Ending::Stopped(_) => ("stopped", None),
        };
        let (metrics, engine) = (self.metrics(), running.engine());
        metrics.attempts.with_label_values(&[running.kind.as_str(), engine, outcome]).inc();
        metrics
            .duration
            .with_label_values(&[running.kind.as_str(), engine])
            .observe(running.since.elapsed().as_secs_f64());
        if let Some(usage) = usage {
            metrics.tokens.with_label_values(&[engine, "prompt"]).inc_by(usage.prompt_tokens);
            metrics.tokens.with_label_values(&[engine, "completion"]).inc_by(usage.completion_tokens);
        }
    }
}

fn worth_repeating(error: &Error, failures: u32) -> bool {
    error.is_retryable()
        || (matches!(error.code(), Code::Internal | Code::Unauthenticated) && failures < INTERNAL_ERRORS)
}

/// 100 ms up to 5 s.
pub(super) fn store_backoff() -> Backoff {
    Backoff::new(Duration::from_millis(100), Duration::from_secs(5))
}

fn usage_message(usage: Usage) -> UsageMessage {
    UsageMessage {
        prompt_tokens: usage.prompt_tokens,
        completion_tokens: usage.completion_tokens,
        estimated: usage.estimated,
        cost: usage.cost,
    }
}
