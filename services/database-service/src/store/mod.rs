//! History, states and uptime in the service's own database.

mod entity;

use async_trait::async_trait;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, EntityTrait, ExprTrait, QueryFilter, QueryOrder, QuerySelect, sea_query::OnConflict,
};
use sker_db::{Db, Transaction, db_error};
use sker_error::Result;

use crate::app::{
    Condition, HISTORY_LENGTH, Journal, ProbeError, Record, Remembered, Share, Status, Step, Target, Tracker, Uptime,
};
use entity::{checks, states, uptime};

/// The journal in a database.
#[derive(Clone, Debug)]
pub struct DbJournal {
    db: Db,
}

impl DbJournal {
    /// A journal in a database whose migrations are applied.
    pub fn new(db: Db) -> Self {
        DbJournal { db }
    }
}

#[async_trait]
impl Journal for DbJournal {
    async fn load(&self, target: &Target, oldest_hour: i64) -> Result<Remembered> {
        let (name, kind) = (target.name.as_str(), target.kind.as_str());
        let state = states::Entity::find_by_id((name.to_owned(), kind.to_owned()))
            .one(self.db.read())
            .await
            .map_err(db_error)?;
        let mut rows = checks::Entity::find()
            .filter(checks::Column::Target.eq(name).and(checks::Column::Kind.eq(kind)))
            .order_by_desc(checks::Column::Id)
            .limit(HISTORY_LENGTH as u64)
            .all(self.db.read())
            .await
            .map_err(db_error)?;
        rows.reverse();
        let hours = uptime::Entity::find()
            .filter(uptime::Column::Target.eq(name).and(uptime::Column::Kind.eq(kind)))
            .filter(uptime::Column::Hour.gte(oldest_hour))
            .all(self.db.read())
            .await
            .map_err(db_error)?;
        Ok(Remembered {
            tracker: state.and_then(tracker),
            records: rows.into_iter().filter_map(record).collect(),
            hours: hours.into_iter().map(|row| (row.hour, Share { up_ms: row.up_ms, down_ms: row.down_ms })).collect(),
        })
    }

    async fn record(&self, target: &Target, record: &Record, tracker: &Tracker, hour: (i64, Share)) -> Result<()> {
        let transaction = self.db.begin().await?;
        insert_check(&transaction, target, record).await?;
        prune(&transaction, target, Uptime::oldest_hour(record.checked_at)).await?;
        save_state(&transaction, target, tracker).await?;
        save_hour(&transaction, target, hour).await?;
        transaction.commit().await.map_err(db_error)
    }
}

async fn insert_check(transaction: &Transaction, target: &Target, record: &Record) -> Result<()> {
    let row = checks::ActiveModel {
        id: Set(record.id),
        target: Set(target.name.clone()),
        kind: Set(target.kind.as_str().to_owned()),
        checked_at: Set(record.checked_at),
        success: Set(record.success),
        status: Set(record.status.as_str().to_owned()),
        latency_ms: Set(record.latency_ms),
        error_step: Set(record.error.as_ref().map(|error| error.step.as_str().to_owned())),
        error_message: Set(record.error.as_ref().map(|error| error.message.clone())),
    };
    checks::Entity::insert(row).exec_without_returning(transaction).await.map_err(db_error)?;
    Ok(())
}

/// Forgets checks beyond the last hundred, and hours of the day before.
async fn prune(transaction: &Transaction, target: &Target, oldest_hour: i64) -> Result<()> {
    let (name, kind) = (target.name.as_str(), target.kind.as_str());
    let beyond = checks::Entity::find()
        .filter(checks::Column::Target.eq(name).and(checks::Column::Kind.eq(kind)))
        .order_by_desc(checks::Column::Id)
        .offset(HISTORY_LENGTH as u64)
        .limit(1)
        .one(transaction)
        .await
        .map_err(db_error)?;
    if let Some(beyond) = beyond {
        checks::Entity::delete_many()
            .filter(checks::Column::Target.eq(name).and(checks::Column::Kind.eq(kind)))
            .filter(checks::Column::Id.lte(beyond.id))
            .exec(transaction)
            .await
            .map_err(db_error)?;
    }
    uptime::Entity::delete_many()
        .filter(uptime::Column::Target.eq(name).and(uptime::Column::Kind.eq(kind)))
        .filter(uptime::Column::Hour.lt(oldest_hour))
        .exec(transaction)
        .await
        .map_err(db_error)?;
    Ok(())
}

async fn save_state(transaction: &Transaction, target: &Target, tracker: &Tracker) -> Result<()> {
    let row = states::ActiveModel {
        target: Set(target.name.clone()),
        kind: Set(target.kind.as_str().to_owned()),
        condition: Set(tracker.condition.as_str().to_owned()),
        since: Set(tracker.since),
        failing_since: Set(tracker.failing_since),
        failures: Set(i64::from(tracker.failures)),
        successes: Set(i64::from(tracker.successes)),
    };
    use states::Column::{Condition, FailingSince, Failures, Since, Successes};
    let mut update = OnConflict::columns([states::Column::Target, states::Column::Kind]);
    update.update_columns([Condition, Since, FailingSince, Failures, Successes]);
    states::Entity::insert(row).on_conflict(update).exec_without_returning(transaction).await.map_err(db_error)?;
    Ok(())
}

async fn save_hour(transaction: &Transaction, target: &Target, (hour, share): (i64, Share)) -> Result<()> {
    let row = uptime::ActiveModel {
        target: Set(target.name.clone()),
        kind: Set(target.kind.as_str().to_owned()),
        hour: Set(hour),
        up_ms: Set(share.up_ms),
        down_ms: Set(share.down_ms),
    };
    let mut update = OnConflict::columns([uptime::Column::Target, uptime::Column::Kind, uptime::Column::Hour]);
    update.update_columns([uptime::Column::UpMs, uptime::Column::DownMs]);
    uptime::Entity::insert(row).on_conflict(update).exec_without_returning(transaction).await.map_err(db_error)?;
    Ok(())
}

/// Rows that a later version wrote in words of its own are left out.
fn record(row: checks::Model) -> Option<Record> {
    let error = match (row.error_step, row.error_message) {
        (Some(step), Some(message)) => Some(ProbeError { step: Step::parse(&step)?, message }),
        _ => None,
    };
    Some(Record {
        id: row.id,
        target: row.target,
        checked_at: row.checked_at,
        success: row.success,
        status: Status::parse(&row.status)?,
        latency_ms: row.latency_ms,
        error,
    })
}

fn tracker(row: states::Model) -> Option<Tracker> {
    Some(Tracker {
        condition: Condition::parse(&row.condition)?,
        since: row.since,
        failing_since: row.failing_since,
        failures: u32::try_from(row.failures).ok()?,
        successes: u32::try_from(row.successes).ok()?,
    })
}
