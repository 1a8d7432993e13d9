//! Claims of brokers on tasks. Every claim has a lease epoch of its own, which fences whatever is done under it.

use std::collections::HashMap;

use sker_api::Ctx;
use sker_error::{Error, FieldError, Result};
use sker_types::{Time, Uuid, event_type, now, parse_id};

use super::{App, Task as View, events, require_service, transitions};
use crate::store::tasks::{self, Task, status};

/// How long a lease may be asked for.
const LEASE_MS: std::ops::RangeInclusive<u64> = 50..=600_000;
/// The most tasks of one claim.
const MOST_CLAIMED: u32 = 200;

/// A claim, named by task and epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lease {
    pub task: Uuid,
    pub epoch: i64,
}

/// What a claim got.
#[derive(Debug, Default)]
pub(crate) struct Claimed {
    /// Tasks with their input.
    pub tasks: Vec<View>,
    /// Ids that were asked for and not got, with the reason: `gone`, `held` or `later`.
    pub unclaimed: Vec<(String, &'static str)>,
}

/// A claim that its holder has lost: `cancelled`, `timeout` or `taken`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    pub task: Uuid,
    pub reason: &'static str,
}

impl App {
    /// Takes tasks under a lease: those of `ids`, or without any the most urgent ones, up to `limit`. Of `ids`, those that
    /// the session holds already are answered as they stand: the answer to its first claim may have been lost.
    pub(crate) async fn claim_tasks(
        &self,
        ctx: &Ctx,
        ids: &[String],
        limit: u32,
        session: &str,
        lease_ms: u64,
    ) -> Result<Claimed> {
        require_service(ctx)?;
        let lease_ms = check_claim(session, lease_ms, ids.len())?;
        let limit = u64::from(limit.clamp(1, MOST_CLAIMED));
        // Whoever polls finds nothing most of the time, and need not wait for the writer to hear it.
        if ids.is_empty() && !tasks::any_claimable(self.store.reader(), now()).await? {
            return Ok(Claimed::default());
        }
        let mut tx = self.store.begin().await?;
        let now = now();
        let mut claimed = Claimed::default();
        let mut held = Vec::new();
        let rows = if ids.is_empty() {
            tasks::claimable_for_update(tx.conn(), now, limit).await?
        } else {
            let known: Vec<Uuid> = ids.iter().filter_map(|id| parse_id(id)).collect();
            let rows = tasks::find_many_for_update(tx.conn(), &known).await?;
            claimed.unclaimed = gone(ids, &rows);
            let (own, rows): (Vec<Task>, Vec<Task>) = rows.into_iter().partition(|row| is_held_by(row, session));
            held = own;
            let (free, taken): (Vec<Task>, Vec<Task>) = rows.into_iter().partition(|row| obstacle(row, now).is_none());
            let refused = taken.iter().filter_map(|row| Some((row.id.to_string(), obstacle(row, now)?)));
            claimed.unclaimed.extend(refused);
            free
        };
        if rows.is_empty() && held.is_empty() {
            return Ok(claimed);
        }
        let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
        let with_input: Vec<Uuid> = held.iter().map(|row| row.id).chain(ids.iter().copied()).collect();
        // A wake-up may be faster than the mark that it was sent: clients hear of every state all the same.
        let pending: Vec<Uuid> = rows.iter().filter(|row| row.status == status::PENDING).map(|row| row.id).collect();
        if !pending.is_empty() {
            tasks::queue(tx.conn(), &pending, now).await?;
        }
        tasks::claim(tx.conn(), &ids, session, lease_ms, now).await?;
        if !held.is_empty() {
            // Whoever asks again lives, and begins only now: the lease counts from here.
            let ids: Vec<Uuid> = held.iter().map(|row| row.id).collect();
            tasks::renew(tx.conn(), session, &ids).await?;
        }
        let mut inputs = tasks::payloads(tx.conn(), &with_input).await?;
        claimed.tasks.extend(held.into_iter().map(|row| {
            let payload = inputs.remove(&row.id);
            View::new(row, payload)
        }));
        for mut row in rows {
            if row.status == status::PENDING {
                row = queued(row, now);
                tx.emit(events::task(event_type::TASK_QUEUED, &row, None));
            }
            let row = under_lease(row, session, lease_ms, now);
            let begun = if row.lease_epoch == 1 { event_type::TASK_STARTED } else { event_type::TASK_RESTARTED };
            tx.emit(events::task(begun, &row, None));
            let payload = inputs.remove(&row.id);
            claimed.tasks.push(View::new(row, payload));
        }
        tx.commit().await?;
        Ok(claimed)
    }

    /// Extends leases, and tells which of them the session does not hold any more.
    pub(crate) async fn renew_leases(&self, ctx: &Ctx, session: &str, leases: &[Lease]) -> Result<Vec<Lost>> {
        require_service(ctx)?;
        let ids: Vec<Uuid> = leases.iter().map(|lease| lease.task).collect();
        let rows = tasks::find_many(self.store.reader(), &ids).await?;
        let rows: HashMap<Uuid, Task> = rows.into_iter().map(|row| (row.id, row)).collect();
        let mut held = Vec::with_capacity(leases.len());
        let mut lost = Vec::new();
        for lease in leases {
            match rows.get(&lease.task) {
                Some(row) if is_held(row, session, lease.epoch) => held.push(lease.task),
                row => lost.push(Lost { task: lease.task, reason: row.map_or("taken", why_lost) }),
            }
        }
        if !held.is_empty() {
            tasks::renew(self.store.writer(), session, &held).await?;
        }
        Ok(lost)
    }

    /// Gives claims back, so that others may have them at once. Without any the session is over, and all it held is taken
    /// back.
    pub(crate) async fn release_tasks(&self, ctx: &Ctx, session: &str, leases: &[Lease]) -> Result<u32> {
        require_service(ctx)?;
        let over = leases.is_empty();
        let mut tx = self.store.begin().await?;
        let rows = if over {
            tasks::held_by_for_update(tx.conn(), session).await?
        } else {
            let ids: Vec<Uuid> = leases.iter().map(|lease| lease.task).collect();
            let held = |row: &Task| leases.iter().any(|l| l.task == row.id && is_held(row, session, l.epoch));
            tasks::find_many_for_update(tx.conn(), &ids).await?.into_iter().filter(held).collect()
        };
        let released = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        let now = now();
        for row in rows {
            if over {
                transitions::take_back(&mut tx, row, &self.settings, now).await?;
            } else {
                transitions::give_back(&mut tx, row, &self.settings, now).await?;
            }
        }
        tx.commit().await?;
        Ok(released)
    }
}

fn check_claim(session: &str, lease_ms: u64, ids: usize) -> Result<i64> {
    let mut faults = Vec::new();
    if ids > MOST_CLAIMED as usize {
        faults.push(FieldError::new("ids", "too_many", format!("must be at most {MOST_CLAIMED}")));
    }
    if session.is_empty() || session.len() > 200 {
        faults.push(FieldError::new("session_id", "invalid", "must have 1 to 200 bytes"));
    }
    if !LEASE_MS.contains(&lease_ms) {
        let message = format!("must be within {} and {}", LEASE_MS.start(), LEASE_MS.end());
        faults.push(FieldError::new("lease_ms", "out_of_range", message));
    }
    match (faults.is_empty(), i64::try_from(lease_ms)) {
        (true, Ok(lease_ms)) => Ok(lease_ms),
        _ => Err(Error::validation(faults)),
    }
}

/// Ids that no task has.
fn gone(ids: &[String], rows: &[Task]) -> Vec<(String, &'static str)> {
    let found: std::collections::HashSet<String> = rows.iter().map(|row| row.id.to_string()).collect();
    ids.iter().filter(|id| !found.contains(*id)).map(|id| (id.clone(), "gone")).collect()
}

/// Why a task cannot be claimed now.
fn obstacle(row: &Task, now: Time) -> Option<&'static str> {
    match row.status.as_str() {
        status::PENDING | status::QUEUED => row.due_at.filter(|due| *due > now).map(|_| "later"),
        status::PROCESSING => Some("held"),
        _ => Some("gone"),
    }
}

fn is_held_by(row: &Task, session: &str) -> bool {
    row.status == status::PROCESSING && row.lease_session.as_deref() == Some(session)
}

/// Whether a task is under this very lease.
fn is_held(row: &Task, session: &str, epoch: i64) -> bool {
    is_held_by(row, session) && row.lease_epoch == epoch
}

fn why_lost(row: &Task) -> &'static str {
    match (row.status.as_str(), row.error_code.as_deref()) {
        (status::CANCELLED, _) => "cancelled",
        (status::FAILED, Some(transitions::TIMEOUT)) => "timeout",
        _ => "taken",
    }
}

/// What [`tasks::queue`] has made of a row.
pub(super) fn queued(row: Task, now: Time) -> Task {
    Task { status: status::QUEUED.to_owned(), queued_at: Some(now), version: row.version + 1, updated_at: now, ..row }
}

/// What [`tasks::claim`] has made of a row.
fn under_lease(row: Task, session: &str, lease_ms: i64, now: Time) -> Task {
    Task {
        status: status::PROCESSING.to_owned(),
        lease_epoch: row.lease_epoch + 1,
        attempts: row.attempts + 1,
        version: row.version + 1,
        lease_session: Some(session.to_owned()),
        lease_ms,
        lease_renewals: 0,
        progress: 0,
        progress_message: String::new(),
        due_at: None,
        wake_at: None,
        started_at: Some(now),
        updated_at: now,
        ..row
    }
}
