use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use sker_bus::Bus;
use sker_cache::RealtimeLog;
use sker_db::{Db, Transaction, db_error};
use sker_error::{Error, Result};
use tokio_util::sync::CancellationToken;

use crate::{
    Outbox, OutboxRow, RelayMetrics,
    publish::{Publisher, Route},
    queries,
};

/// Rows that are carried out, and at worst repeated, together.
pub const BATCH: u64 = 200;

/// How often the relay looks without being woken, and how long it leaves a route alone that refused something.
const TICK: Duration = Duration::from_secs(1);
/// The longest time for which a log that does not answer is left alone.
const LONGEST_LOG_PAUSE: Duration = Duration::from_secs(4);
/// The first wait after a failure; it doubles up to [`TICK`].
const FIRST_RETRY: Duration = Duration::from_millis(50);
const PRUNE_EVERY: Duration = Duration::from_secs(10);
const KEEP_FOR: Duration = Duration::from_secs(3_600);
const KEEP_ROWS: u64 = 10_000;

/// Lets a service change its own state together with the mark.
#[async_trait]
pub trait RelayHook: Send + Sync + 'static {
    /// These rows were carried out, and this transaction marks them so. It may be repeated for the same rows only when it
    /// was rolled back before. An error rolls back: the batch is repeated.
    async fn published(&self, tx: &Transaction, rows: &[OutboxRow]) -> Result<()>;
}

/// Carries rows from the outbox to the realtime log and the bus. Run one per database, for example under
/// [`Db::lead`](sker_db::Db::lead); a second one does no harm but repeat messages.
pub struct Relay {
    /// Where the table is.
    pub db: Db,
    /// What wakes it.
    pub outbox: Outbox,
    /// Where messages go.
    pub bus: Arc<dyn Bus>,
    /// Where channels are kept.
    pub log: Arc<dyn RealtimeLog>,
    /// What else happens when rows are marked.
    pub hook: Arc<dyn RelayHook>,
    /// What it tells of itself.
    pub metrics: RelayMetrics,
    /// The service's name, which messages carry as their source.
    pub source: String,
}

/// What one run remembers between passes.
#[derive(Default)]
struct Memory {
    /// Routes that refused something, and until when they are left alone.
    refusing: HashMap<Route, Instant>,
    /// The log did not answer, and is left alone for a while.
    log_away: Option<LogAway>,
    failures: u32,
    measured: Option<Instant>,
    pruned: Option<Instant>,
}

struct LogAway {
    until: Instant,
    failures: u32,
}

impl Memory {
    /// Whether to try the log.
    fn with_log(&self) -> bool {
        self.log_away.as_ref().is_none_or(|away| away.until <= Instant::now())
    }

    fn log_failed(&mut self, error: &Error) {
        let failures = self.log_away.as_ref().map_or(0, |away| away.failures);
        if failures == 0 {
            tracing::warn!(error = ?error, "the realtime log is away; events wait, work goes on");
        }
        let pause = TICK.saturating_mul(1 << failures.min(16)).min(LONGEST_LOG_PAUSE);
        self.log_away = Some(LogAway { until: Instant::now() + pause, failures: failures.saturating_add(1) });
    }

    fn log_answered(&mut self) {
        if self.log_away.take().is_some() {
            tracing::info!("the realtime log is back");
        }
    }
}

impl Relay {
    /// Relays until told to stop; then finishes the batch it is at. Failures are logged, counted and tried again.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut memory = Memory::default();
        let _here = self.outbox.relayed_here();
        while !shutdown.is_cancelled() {
            let failed = match self.pass(&mut memory, &shutdown).await {
                Ok(()) => {
                    if memory.failures > 0 {
                        tracing::info!(outbox.failures = memory.failures, "the outbox is relayed again");
                    }
                    memory.failures = 0;
                    false
                }
                Err(error) => {
                    if memory.failures == 0 {
                        tracing::warn!(error = ?error, "the outbox cannot be relayed; trying again");
                    }
                    self.metrics.failures.inc();
                    memory.failures = memory.failures.saturating_add(1);
                    true
                }
            };
            if let Err(error) = self.keep_house(&mut memory).await {
                tracing::warn!(error = ?error, "the outbox cannot be measured or pruned");
            }
            let wait = if failed { retry_delay(memory.failures) } else { TICK };
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(wait) => {}
                // While something is down, being woken for every new row would only add load.
                () = self.outbox.awoken(), if !failed => {}
            }
        }
        // Another process relays now, or nobody: what waits is no longer known here.
        self.metrics.pending.set(0);
        self.metrics.lag.set(0.0);
    }

    /// Goes over everything that is unpublished, the oldest first. It begins anew with every batch: positions are given
    /// before the commit, so on PostgreSQL an older row may come to light after a younger one has been read.
    async fn pass(&self, memory: &mut Memory, shutdown: &CancellationToken) -> Result<()> {
        let publisher =
            Publisher { bus: self.bus.as_ref(), log: self.log.as_ref(), source: &self.source, metrics: &self.metrics };
        memory.refusing.retain(|_, until| Instant::now() < *until);
        let mut with_log = memory.with_log();
        while !shutdown.is_cancelled() {
            let refusing: Vec<Route> = memory.refusing.keys().cloned().collect();
            let rows = queries::pending(&self.db, BATCH, &refusing, with_log).await?;
            if rows.is_empty() {
                break;
            }
            let outcome = publisher.publish(rows).await;
            let moves = !outcome.done.is_empty() || !outcome.refused.is_empty();
            let until = Instant::now() + TICK;
            memory.refusing.extend(outcome.refused.into_iter().map(|route| (route, until)));
            self.mark(outcome.done).await?;
            match outcome.log_error {
                Some(error) => {
                    self.metrics.failures.inc();
                    memory.log_failed(&error);
                    with_log = false;
                }
                None if outcome.log_answers => memory.log_answered(),
                // What is left is left until the next pass.
                None if !moves && outcome.bus_error.is_none() => break,
                None => {}
            }
            if let Some(error) = outcome.bus_error {
                return Err(error);
            }
        }
        Ok(())
    }

    async fn mark(&self, rows: Vec<OutboxRow>) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let tx = self.db.begin().await?;
        let positions = rows.iter().map(|row| row.position).collect();
        let marked = queries::mark_published(&tx, positions).await?;
        // Another relay may have been faster with some.
        let rows: Vec<OutboxRow> = rows.into_iter().filter(|row| marked.contains(&row.position)).collect();
        self.hook.published(&tx, &rows).await?;
        tx.commit().await.map_err(db_error)?;
        for row in &rows {
            self.metrics.published.with_label_values(&[row.exchange.as_deref().unwrap_or("")]).inc();
        }
        // The hook may have written rows of its own.
        self.outbox.wake();
        Ok(())
    }

    async fn keep_house(&self, memory: &mut Memory) -> Result<()> {
        if is_due(&mut memory.measured, TICK) {
            let (count, oldest) = queries::backlog(&self.db).await?;
            let lag = oldest.map_or(0.0, |oldest| (sker_types::now() - oldest).as_seconds_f64());
            self.metrics.pending.set(i64::try_from(count).unwrap_or(i64::MAX));
            self.metrics.lag.set(lag.max(0.0));
        }
        if is_due(&mut memory.pruned, PRUNE_EVERY) {
            queries::prune(&self.db, KEEP_FOR, KEEP_ROWS).await?;
        }
        Ok(())
    }
}

/// Whether something is to be done again; if so, notes that it is done now.
fn is_due(last: &mut Option<Instant>, every: Duration) -> bool {
    let due = last.is_none_or(|last| last.elapsed() >= every);
    if due {
        *last = Some(Instant::now());
    }
    due
}

fn retry_delay(failures: u32) -> Duration {
    FIRST_RETRY.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1))).min(TICK)
}
