use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use sea_orm::{ColumnTrait, EntityTrait, IdenStatic, Iterable, PrimaryKeyToColumn, QueryFilter, sea_query::OnConflict};
use sker_db::{Db, Transaction, db_error};
use sker_error::{Code, Error, Result};
use sker_traffic::Backoff;
use sker_types::now;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::{
    entity::{event, group, instance, service},
    events,
    pending::Pending,
    rows,
};
use crate::app::{EventQuery, Storage, engine::Journal, model::Event, view::EventView};

/// Rows per statement. One has at most 120 KiB, and MySQL takes no statement beyond `max_allowed_packet`: 4 MiB in 5.7.
const ROWS: usize = 32;
/// Who waits for the database is told after so long that it did not answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two prunings of events.
const PRUNE_EVERY: Duration = Duration::from_secs(600);

/// What becomes of events.
#[derive(Clone, Copy, Debug)]
pub struct EventPolicy {
    /// Whether they are stored at all.
    pub stored: bool,
    /// For how long.
    pub retention: Duration,
}

/// Writes changes to the database, one transaction for all that came in while the one before was under way.
///
/// With the database away nothing is lost and nobody waits: the latest state of every changed row is kept and written
/// when it is back.
pub struct WriteBehind {
    db: Db,
    policy: EventPolicy,
    pending: Mutex<Pending>,
    /// Rows that were taken out of `pending` and are not known to be stored yet.
    in_flight: AtomicUsize,
    work: Notify,
    stored: watch::Sender<Stored>,
    available: AtomicBool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Stored {
    revision: u64,
    failing: bool,
}

impl WriteBehind {
    /// Nothing to write yet.
    pub fn new(db: Db, policy: EventPolicy) -> Self {
        WriteBehind {
            db,
            policy,
            pending: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            work: Notify::new(),
            stored: watch::Sender::new(Stored::default()),
            available: AtomicBool::new(true),
        }
    }

    /// Everything up to this revision came from the database.
    pub fn begin_at(&self, revision: u64) {
        self.stored.send_modify(|stored| stored.revision = stored.revision.max(revision));
    }

    /// How many rows are not known to be stored, those that are being written included.
    pub fn backlog(&self) -> usize {
        let pending = self.pending();
        pending.len() + self.in_flight.load(Ordering::Acquire)
    }

    /// Writes until it is told to stop, and then once more what is left.
    pub async fn run(&self, stop: CancellationToken) {
        let backoff = Backoff { jitter: 0.2, ..Backoff::new(Duration::from_millis(100), Duration::from_secs(5)) };
        let mut failures = 0;
        loop {
            match self.flush().await {
                Ok(()) => failures = 0,
                Err(error) => {
                    if failures == 0 {
                        tracing::error!(error = %error, cause = ?error.cause(), "changes cannot be stored for now");
                    }
                    let wait = backoff.delay(failures);
                    failures = failures.saturating_add(1);
                    if stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                        break;
                    }
                    continue;
                }
            }
            if stop.run_until_cancelled(self.work.notified()).await.is_none() {
                break;
            }
        }
        if let Err(error) = self.flush().await {
            tracing::error!(error = %error, rows = self.backlog(), "changes could not be stored before the stop");
        }
    }

    /// Deletes events that are too old, now and then.
    pub async fn prune(&self, stop: CancellationToken) {
        loop {
            if let Err(error) = events::prune(&self.db, now() - self.policy.retention).await {
                tracing::warn!(error = %error, cause = ?error.cause(), "old events cannot be deleted for now");
            }
            if stop.run_until_cancelled(tokio::time::sleep(PRUNE_EVERY)).await.is_none() {
                return;
            }
        }
    }

    async fn flush(&self) -> Result<()> {
        // Taken, counted and put back under the lock, so that the backlog never looks smaller than it is.
        let mut batch = {
            let mut pending = self.pending();
            self.in_flight.store(pending.len(), Ordering::Release);
            std::mem::take(&mut *pending)
        };
        if batch.lost_events > 0 {
            tracing::warn!(events = batch.lost_events, "events were lost while the database was away");
            batch.lost_events = 0;
        }
        let revision = batch.revision;
        if !batch.is_empty() {
            let outcome = self.write_all(batch).await;
            if let Err((error, rest)) = outcome {
                let mut pending = self.pending();
                pending.put_back(rest);
                self.in_flight.store(0, Ordering::Release);
                drop(pending);
                self.available.store(false, Ordering::Release);
                self.stored.send_modify(|stored| stored.failing = true);
                return Err(error);
            }
        }
        self.in_flight.store(0, Ordering::Release);
        self.available.store(true, Ordering::Release);
        self.stored.send_modify(|stored| {
            stored.failing = false;
            stored.revision = stored.revision.max(revision);
        });
        Ok(())
    }

    /// Writes a batch. One row that the database will never take must not hold up the others: it is found by halves.
    /// With an error come the rows that are still to be written.
    async fn write_all(&self, batch: Pending) -> std::result::Result<(), (Error, Pending)> {
        let revision = batch.revision;
        // The last one is the next.
        let mut parts = vec![batch];
        while let Some(part) = parts.pop() {
            match write(&self.db, &part).await {
                Ok(()) => {}
                Err(error) if error.code() == Code::Unavailable => {
                    let mut rest = part;
                    parts.into_iter().rev().for_each(|later| rest.append(later));
                    rest.revision = revision;
                    return Err((error, rest));
                }
                Err(error) if part.len() == 1 => {
                    tracing::error!(error = %error, cause = ?error.cause(), "a row cannot be stored");
                }
                Err(_) => {
                    let (first, second) = part.halves();
                    parts.extend([second, first]);
                }
            }
        }
        Ok(())
    }

    /// Held for a change of memory only.
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for WriteBehind {
    fn record(&self, event: &Arc<Event>) {
        self.pending().take(event, self.policy.stored);
        self.work.notify_one();
    }
}

#[async_trait]
impl Storage for WriteBehind {
    fn is_available(&self) -> bool {
        self.available.load(Ordering::Acquire)
    }

    async fn committed(&self, revision: u64) -> bool {
        let mut stored = self.stored.subscribe();
        let settled = stored.wait_for(|stored| stored.revision >= revision || stored.failing);
        match tokio::time::timeout(PATIENCE, settled).await {
            Ok(Ok(stored)) => stored.revision >= revision,
            _ => false,
        }
    }

    async fn events(&self, query: &EventQuery) -> Result<Vec<EventView>> {
        events::list(&self.db, query).await
    }
}

async fn write(db: &Db, batch: &Pending) -> Result<()> {
    let tx = db.begin().await?;
    write_groups(&tx, batch).await?;
    write_services(&tx, batch).await?;
    write_instances(&tx, batch).await?;
    let events: Vec<_> = batch.events.iter().map(|event| rows::event_row(event)).collect();
    for rows in events.chunks(ROWS) {
        let mut known = OnConflict::column(event::Column::EventId);
        known.do_nothing_on([event::Column::EventId]);
        // Written again after a commit whose answer was lost: the row is there.
        event::Entity::insert_many(rows.to_vec())
            .on_conflict(known)
            .exec_without_returning(&tx)
            .await
            .map_err(db_error)?;
    }
    tx.commit().await.map_err(db_error)
}

/// On a conflict of keys every other column is replaced.
fn upsert<E: EntityTrait>() -> OnConflict
where
    E::Column: Iterable,
{
    let keys: Vec<E::Column> = E::PrimaryKey::iter().map(PrimaryKeyToColumn::into_column).collect();
    let names: Vec<&str> = keys.iter().map(IdenStatic::as_str).collect();
    let others = E::Column::iter().filter(|column| !names.contains(&column.as_str()));
    OnConflict::columns(keys).update_columns(others).to_owned()
}

async fn write_groups(tx: &Transaction, batch: &Pending) -> Result<()> {
    for key in batch.groups.iter().filter(|(_, state)| state.is_none()).map(|(key, _)| key) {
        let row = group::Entity::delete_by_id((key.tenant.to_string(), key.group.to_string()));
        row.exec(tx).await.map_err(db_error)?;
    }
    let rows: Vec<_> = batch.groups.values().flatten().map(|entry| rows::group_row(entry)).collect();
    for rows in rows.chunks(ROWS) {
        let insert = group::Entity::insert_many(rows.to_vec()).on_conflict(upsert::<group::Entity>());
        insert.exec_without_returning(tx).await.map_err(db_error)?;
    }
    Ok(())
}

async fn write_services(tx: &Transaction, batch: &Pending) -> Result<()> {
    for key in batch.services.iter().filter(|(_, state)| state.is_none()).map(|(key, _)| key) {
        let id = (key.tenant.to_string(), key.group.to_string(), key.service.to_string());
        service::Entity::delete_by_id(id).exec(tx).await.map_err(db_error)?;
    }
    let rows: Vec<_> = batch.services.values().flatten().map(|entry| rows::service_row(entry)).collect();
    for rows in rows.chunks(ROWS) {
        let insert = service::Entity::insert_many(rows.to_vec()).on_conflict(upsert::<service::Entity>());
        insert.exec_without_returning(tx).await.map_err(db_error)?;
    }
    Ok(())
}

async fn write_instances(tx: &Transaction, batch: &Pending) -> Result<()> {
    for (key, host, port) in batch.instances.iter().filter(|(_, state)| state.is_none()).map(|(key, _)| key) {
        instance::Entity::delete_many()
            .filter(instance::Column::TenantId.eq(&*key.tenant))
            .filter(instance::Column::GroupName.eq(&*key.group))
            .filter(instance::Column::ServiceName.eq(&*key.service))
            .filter(instance::Column::HostAddress.eq(host.as_str()))
            .filter(instance::Column::PortNumber.eq(i32::from(*port)))
            .exec(tx)
            .await
            .map_err(db_error)?;
    }
    let rows: Vec<_> = batch.instances.values().flatten().map(|instance| rows::instance_row(instance)).collect();
    for rows in rows.chunks(ROWS) {
        let insert = instance::Entity::insert_many(rows.to_vec()).on_conflict(upsert::<instance::Entity>());
        insert.exec_without_returning(tx).await.map_err(db_error)?;
    }
    Ok(())
}
