//! How a task passes from one state to the next. Each takes a row that was read for update, stores its next state with the
//! events, and answers with it.

use std::time::Duration;

use sker_error::Result;
use sker_types::{Time, event_type};

use super::{Settings, events};
use crate::store::{
    Tx,
    tasks::{self, Task, status},
};

/// Error codes that the store itself gives.
pub(super) const TIMEOUT: &str = "timeout";
pub(super) const LOST: &str = "broker_lost";

/// The task's next version, without a lease.
fn next(old: &Task, state: &str, now: Time) -> Task {
    Task {
        status: state.to_owned(),
        lease_session: None,
        due_at: None,
        wake_at: None,
        wakes: 0,
        version: old.version + 1,
        updated_at: now,
        ..old.clone()
    }
}

/// An unfinished task is not wanted any more.
pub(super) async fn cancel(tx: &mut Tx, old: Task, now: Time) -> Result<Task> {
    let new = Task { completed_at: Some(now), ..next(&old, status::CANCELLED, now) };
    tasks::update(tx.conn(), &old, &new).await?;
    tx.emit(events::task(event_type::TASK_CANCELLED, &new, None));
    Ok(new)
}

/// A task under a lease is up for somebody else at once; the attempt does not count.
pub(super) async fn give_back(tx: &mut Tx, old: Task, settings: &Settings, now: Time) -> Result<Task> {
    let lost_leases = old.lost_leases;
    queue_again(tx, old, lost_leases, settings, now).await
}

/// Whoever held a task is gone: like [`give_back`], but a task that loses its broker again and again may be what kills it,
/// and is given up.
pub(super) async fn take_back(tx: &mut Tx, old: Task, settings: &Settings, now: Time) -> Result<Task> {
    let lost_leases = old.lost_leases + 1;
    if lost_leases >= settings.lost_leases {
        let message = format!("the brokers that ran it were lost {lost_leases} times");
        return give_up(tx, old, LOST, &message, now).await;
    }
    queue_again(tx, old, lost_leases, settings, now).await
}

async fn queue_again(tx: &mut Tx, old: Task, lost_leases: i32, settings: &Settings, now: Time) -> Result<Task> {
    let new = Task {
        lost_leases,
        attempts: (old.attempts - 1).max(0),
        wake_at: Some(now + settings.wake_again),
        queued_at: Some(now),
        ..next(&old, status::QUEUED, now)
    };
    tasks::update(tx.conn(), &old, &new).await?;
    tx.emit(events::task(event_type::TASK_QUEUED, &new, None));
    tx.emit(events::wake(&new)?);
    Ok(new)
}

/// An attempt has failed and another one follows after `wait`.
pub(super) async fn try_again(
    tx: &mut Tx,
    old: Task,
    code: &str,
    message: &str,
    wait: Duration,
    now: Time,
) -> Result<Task> {
    let due = now + wait;
    let new = Task {
        error_code: Some(code.to_owned()),
        error_message: Some(message.to_owned()),
        due_at: Some(due),
        wake_at: Some(due),
        queued_at: Some(now),
        ..next(&old, status::QUEUED, now)
    };
    tasks::update(tx.conn(), &old, &new).await?;
    tx.emit(events::task(event_type::TASK_QUEUED, &new, None));
    Ok(new)
}

/// A task has failed for good.
pub(super) async fn give_up(tx: &mut Tx, old: Task, code: &str, message: &str, now: Time) -> Result<Task> {
    let new = Task {
        error_code: Some(code.to_owned()),
        error_message: Some(message.to_owned()),
        completed_at: Some(now),
        ..next(&old, status::FAILED, now)
    };
    tasks::update(tx.conn(), &old, &new).await?;
    tx.emit(events::task(event_type::TASK_FAILED, &new, None));
    tx.emit(events::dead_letter(&new)?);
    Ok(new)
}
