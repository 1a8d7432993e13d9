//! What brokers report of the tasks they hold. A report under another epoch than the task's own changes nothing and is a
//! `conflict`; one that was made before changes nothing either.

use std::time::Duration;

use serde_json::Value;
use sker_api::Ctx;
use sker_error::{Error, Result};
use sker_types::{event_type, now};

use super::{App, Lease, apply, body, events, require_service, transitions};
use crate::store::{
    Tx,
    tasks::{self, Task, status},
};

const MESSAGE_LENGTH: usize = 500;
/// The longest time that a provider can make us wait between attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);

/// What an attempt has used up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub prompt_tokens: i64,
    pub completion_tokens: i64,
    pub estimated: bool,
    pub cost: f64,
}

/// Why an attempt has failed.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub code: String,
    pub message: String,
    pub retryable: bool,
    pub retry_after_ms: u64,
}

impl App {
    /// Stores how far a task has come. It never goes back within an epoch.
    pub(crate) async fn report_progress(&self, ctx: &Ctx, lease: Lease, progress: u32, message: &str) -> Result<()> {
        require_service(ctx)?;
        let progress = i32::try_from(progress.min(100)).unwrap_or(100);
        let message = shortened(message);
        let mut tx = self.store.begin().await?;
        let old = held(tasks::find_for_update(tx.conn(), lease.task).await?, lease)?;
        if progress < old.progress
            || (progress == old.progress && (message.is_empty() || message == old.progress_message))
        {
            return Ok(());
        }
        let new =
            Task { progress, progress_message: message, version: old.version + 1, updated_at: now(), ..old.clone() };
        tasks::update(tx.conn(), &old, &new).await?;
        tx.emit(events::progress(&new));
        tx.commit().await
    }

    /// Stores a task's result, applies it to the task's node, and ends the task. True when this epoch had done so before.
    pub(crate) async fn complete_task(
        &self,
        ctx: &Ctx,
        lease: Lease,
        output_json: &str,
        usage: Option<Usage>,
    ) -> Result<bool> {
        require_service(ctx)?;
        let output = read_output(output_json)?;
        let mut tx = self.store.begin().await?;
        let row = tasks::find_for_update(tx.conn(), lease.task).await?;
        if row.as_ref().is_some_and(|row| row.lease_epoch == lease.epoch && row.status == status::COMPLETED) {
            return Ok(true);
        }
        let old = held(row, lease)?;
        let now = now();
        let mut new = Task {
            status: status::COMPLETED.to_owned(),
            progress: 100,
            lease_session: None,
            error_code: None,
            error_message: None,
            completed_at: Some(now),
            version: old.version + 1,
            updated_at: now,
            ..old.clone()
        };
        add_usage(&mut new, usage);
        apply::to_node(&mut tx, &new, &output, now).await?;
        tasks::update(tx.conn(), &old, &new).await?;
        tx.emit(events::task(event_type::TASK_COMPLETED, &new, Some(&output)));
        tasks::set_output(tx.conn(), new.id, output).await?;
        tx.commit().await?;
        Ok(false)
    }

    /// Stores that an attempt has failed. True when another one follows.
    pub(crate) async fn fail_task(
        &self,
        ctx: &Ctx,
        lease: Lease,
        failure: &Failure,
        usage: Option<Usage>,
    ) -> Result<bool> {
        require_service(ctx)?;
        let mut tx = self.store.begin().await?;
        let row = tasks::find_for_update(tx.conn(), lease.task).await?;
        if let Some(row) = row.as_ref().filter(|row| row.lease_epoch == lease.epoch) {
            // Only what happens under a lease can have ended it so.
            match row.status.as_str() {
                status::QUEUED => return Ok(true),
                status::FAILED => return Ok(false),
                _ => {}
            }
        }
        let old = held(row, lease)?;
        let (code, message) = (shortened(&failure.code), shortened(&failure.message));
        let now = now();
        let used = with_usage(&tx, old, usage).await?;
        let again = failure.retryable && used.attempts < used.max_attempts;
        if again {
            let failures = u32::try_from(used.attempts - 1).unwrap_or(0);
            let asked = Duration::from_millis(failure.retry_after_ms).min(LONGEST_WAIT);
            let wait = self.settings.retry.delay(failures).max(asked);
            transitions::try_again(&mut tx, used, &code, &message, wait, now).await?;
        } else {
            transitions::give_up(&mut tx, used, &code, &message, now).await?;
        }
        tx.commit().await?;
        Ok(again)
    }
}

/// Stores what an attempt has used, whatever becomes of the task.
async fn with_usage(tx: &Tx, old: Task, usage: Option<Usage>) -> Result<Task> {
    let mut new = old.clone();
    add_usage(&mut new, usage);
    tasks::update(tx.conn(), &old, &new).await?;
    Ok(new)
}

/// The task, if it is under this lease.
fn held(row: Option<Task>, lease: Lease) -> Result<Task> {
    let row = row.ok_or_else(|| Error::not_found("task"))?;
    if row.status == status::PROCESSING && row.lease_epoch == lease.epoch {
        return Ok(row);
    }
    Err(Error::conflict(format!("the lease of epoch {} is over: the task is {}", lease.epoch, row.status)))
}

fn read_output(json: &str) -> Result<Value> {
    match serde_json::from_str(json) {
        Ok(output @ Value::Object(_)) if !body::has_nul(&output) => Ok(output),
        Ok(Value::Object(_)) => Err(Error::invalid_request("the output must not contain the NUL character")),
        _ => Err(Error::invalid_request("the output must be a JSON object")),
    }
}

/// Adds up what all attempts have used.
fn add_usage(task: &mut Task, usage: Option<Usage>) {
    let Some(usage) = usage else { return };
    let sum = |before: Option<i64>, more: i64| Some(before.unwrap_or(0).saturating_add(more.max(0)));
    task.prompt_tokens = sum(task.prompt_tokens, usage.prompt_tokens);
    task.completion_tokens = sum(task.completion_tokens, usage.completion_tokens);
    task.usage_estimated |= usage.estimated;
    if usage.cost.is_finite() && usage.cost >= 0.0 {
        task.estimated_cost = Some(task.estimated_cost.unwrap_or(0.0) + usage.cost);
    }
}

fn shortened(text: &str) -> String {
    text.chars().filter(|c| *c != '\0').take(MESSAGE_LENGTH).collect()
}
