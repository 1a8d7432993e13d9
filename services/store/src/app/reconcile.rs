//! Puts right what nobody else will: leases that ran out, tasks that take too long, wake-ups that are due or were lost.

use std::time::{Duration, Instant};

use sker_error::Result;
use sker_types::{Time, Uuid, now};
use tokio_util::sync::CancellationToken;

use super::{
    App, events, transitions,
    watch::{LeaseWatch, Verdicts},
};
use crate::store::{
    keys, sessions,
    tasks::{self, Held, Task, status},
};

/// Tasks that are woken in one transaction.
const AT_A_TIME: u64 = 500;
/// The longest wait before a wake-up that nobody followed is sent again.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);
const TIDY_EVERY: Duration = Duration::from_secs(600);
/// How long a request may be repeated with its idempotency key.
const KEYS_KEPT: Duration = Duration::from_secs(24 * 3_600);
/// How long sessions that ran out are kept.
const SESSIONS_KEPT: Duration = Duration::from_secs(24 * 3_600);

/// What one run of the reconciler remembers.
struct Memory {
    /// The wake-ups of all that is unfinished were sent.
    woken: bool,
    /// Up to which id, so that a failure on the way sends none of them twice.
    woken_to: Uuid,
    watch: LeaseWatch,
    tidied: Option<Instant>,
}

impl App {
    /// Sends the wake-up of every waiting task again: what the bus had at the last stop may be lost.
    async fn wake_all(&self, memory: &mut Memory) -> Result<()> {
        let mut woken = 0;
        while !memory.woken {
            let ids = tasks::waiting_after(self.store.reader(), memory.woken_to, AT_A_TIME).await?;
            let Some(last) = ids.last() else {
                memory.woken = true;
                break;
            };
            woken += self.wake(&ids, |row, now| row.due_at.is_none_or(|due| due <= now)).await?;
            memory.woken_to = *last;
        }
        if woken > 0 {
            tracing::info!(tasks.woken = woken, "unfinished tasks were woken");
        }
        Ok(())
    }

    /// Wakes what is unfinished, then reconciles until told to stop. A failure is logged when it begins, and what failed is
    /// tried again. What it is at when it is told to stop is rolled back: with many tasks it may be long.
    pub(crate) async fn run_reconciler(&self, stop: CancellationToken) {
        let interval = self.settings.reconcile_interval;
        let watch = LeaseWatch::new(interval * 2 + Duration::from_secs(1));
        let mut memory = Memory { woken: false, woken_to: Uuid::nil(), watch, tidied: None };
        let mut failing = false;
        loop {
            let Some(result) = stop.run_until_cancelled(self.reconcile(&mut memory)).await else { return };
            match &result {
                Err(error) if !failing => tracing::warn!(error = ?error, "tasks cannot be reconciled; trying again"),
                Ok(()) if failing => tracing::info!("tasks are reconciled again"),
                _ => {}
            }
            failing = result.is_err();
            let pause = tokio::time::sleep(interval);
            if stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }

    async fn reconcile(&self, memory: &mut Memory) -> Result<()> {
        self.wake_all(memory).await?;
        let held = tasks::held(self.store.reader()).await?;
        self.enforce(memory.watch.observe(held, Instant::now(), now())).await?;
        self.wake_due().await?;
        if memory.tidied.is_none_or(|last| last.elapsed() >= TIDY_EVERY) {
            memory.tidied = Some(Instant::now());
            keys::prune(self.store.writer(), now() - KEYS_KEPT).await?;
            sessions::prune(self.store.writer(), now() - SESSIONS_KEPT).await?;
        }
        Ok(())
    }

    /// Takes back what was lost and ends what takes too long, unless something has moved since it was looked at.
    async fn enforce(&self, verdicts: Verdicts) -> Result<()> {
        let Verdicts { lost, timed_out } = verdicts;
        let judged: Vec<Uuid> = lost.iter().chain(&timed_out).map(|held| held.id).collect();
        if judged.is_empty() {
            return Ok(());
        }
        let mut tx = self.store.begin().await?;
        let now = now();
        for row in tasks::find_many_for_update(tx.conn(), &judged).await? {
            let is =
                |held: &Held| held.id == row.id && row.status == status::PROCESSING && held.epoch == row.lease_epoch;
            if timed_out.iter().any(is) {
                tracing::info!(task.id = %row.id, task.timeout_ms = row.timeout_ms, "a task took too long");
                let message = format!("it took longer than its {} ms", row.timeout_ms);
                transitions::give_up(&mut tx, row, transitions::TIMEOUT, &message, now).await?;
            } else if lost.iter().any(|held| is(held) && held.renewals == row.lease_renewals) {
                tracing::warn!(task.id = %row.id, task.epoch = row.lease_epoch, "the lease of a task has run out");
                transitions::take_back(&mut tx, row, &self.settings, now).await?;
            }
        }
        tx.commit().await
    }

    /// Sends wake-ups that are due: of scheduled tasks, of retries, and again of those that nobody followed.
    async fn wake_due(&self) -> Result<()> {
        loop {
            let ids = tasks::to_wake(self.store.reader(), now(), AT_A_TIME).await?;
            if ids.is_empty() {
                return Ok(());
            }
            self.wake(&ids, |row, now| row.wake_at.is_some_and(|at| at <= now)).await?;
        }
    }

    async fn wake(&self, ids: &[Uuid], is_due: impl Fn(&Task, Time) -> bool) -> Result<u64> {
        let mut tx = self.store.begin().await?;
        let now = now();
        let mut woken = 0;
        for old in tasks::find_many_for_update(tx.conn(), ids).await? {
            if ![status::PENDING, status::QUEUED].contains(&old.status.as_str()) || !is_due(&old, now) {
                continue;
            }
            tx.emit(events::wake(&old)?);
            // When to wake is nothing that clients see: the version stays.
            let pause = self.settings.wake_again.saturating_mul(2u32.saturating_pow(old.wakes.max(0).unsigned_abs()));
            let new = Task { wakes: old.wakes + 1, wake_at: Some(now + pause.min(LONGEST_WAIT)), ..old.clone() };
            tasks::update(tx.conn(), &old, &new).await?;
            woken += 1;
        }
        tx.commit().await?;
        Ok(woken)
    }
}
