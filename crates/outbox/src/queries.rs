//! The relay's reads and writes.

use std::time::Duration;

use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, ExprTrait, Query},
};
use sker_bus::topology::EVENTS_TOPIC;
use sker_db::{Db, Transaction, db_error};
use sker_error::Result;
use sker_types::Time;

use crate::{
    OutboxRow,
    entity::{Column, Entity},
    publish::Route,
};

/// Rows that are taken from the table at a time when it is pruned, so that the writer is never held for long.
const PRUNED_AT_A_TIME: u64 = 1_000;

/// The oldest unpublished rows, without those of the routes and, unless `with_log`, those that have to wait for the log.
pub(crate) async fn pending(db: &Db, limit: u64, without: &[Route], with_log: bool) -> Result<Vec<OutboxRow>> {
    let mut condition = Condition::all().add(Column::PublishedAt.is_null());
    for route in without {
        let other_exchange = Column::Exchange.is_null().or(Column::Exchange.ne(route.exchange.as_str()));
        condition = condition.add(match &route.key {
            Some(key) => other_exchange.or(Column::Key.ne(key.as_str())),
            None => other_exchange,
        });
    }
    if !with_log {
        // Not true of NULL either: what only shows in channels.
        condition = condition.add(Column::Exchange.ne(EVENTS_TOPIC));
    }
    Entity::find().filter(condition).order_by_asc(Column::Position).limit(limit).all(db.read()).await.map_err(db_error)
}

/// Marks rows as published; answers the positions of those that were not before.
pub(crate) async fn mark_published(tx: &Transaction, positions: Vec<i64>) -> Result<Vec<i64>> {
    let update = Query::update()
        .table(Entity)
        .value(Column::PublishedAt, sker_types::now())
        .and_where(Column::Position.is_in(positions))
        .and_where(Column::PublishedAt.is_null())
        .returning(Query::returning().column(Column::Position))
        .take();
    let rows = tx.query_all(&update).await.map_err(db_error)?;
    rows.iter().map(|row| row.try_get("", "position").map_err(db_error)).collect()
}

/// How many rows are unpublished, and since when the oldest of them waits.
pub(crate) async fn backlog(db: &Db) -> Result<(u64, Option<Time>)> {
    let count = Entity::find().filter(Column::PublishedAt.is_null()).count(db.read()).await.map_err(db_error)?;
    let oldest: Option<Time> = Entity::find()
        .select_only()
        .column(Column::CreatedAt)
        .filter(Column::PublishedAt.is_null())
        .order_by_asc(Column::Position)
        .into_tuple()
        .one(db.read())
        .await
        .map_err(db_error)?;
    Ok((count, oldest))
}

/// Deletes published rows that are older than `age` or beyond the newest `keep`; rows that were published together with the
/// last of those stay.
pub(crate) async fn prune(db: &Db, age: Duration, keep: u64) -> Result<()> {
    let horizon = sker_types::now() - age;
    // Both by `published_at`, whose index holds all that is asked for: what is unpublished, however much, is not looked at.
    let beyond: Option<Time> = Entity::find()
        .select_only()
        .column(Column::PublishedAt)
        .filter(Column::PublishedAt.is_not_null())
        .order_by_desc(Column::PublishedAt)
        .order_by_desc(Column::Position)
        .offset(keep.saturating_sub(1))
        .into_tuple()
        .one(db.read())
        .await
        .map_err(db_error)?;
    let horizon = beyond.map_or(horizon, |beyond| Ord::max(beyond, horizon));
    loop {
        let positions: Vec<i64> = Entity::find()
            .select_only()
            .column(Column::Position)
            .filter(Column::PublishedAt.lt(horizon))
            .order_by_asc(Column::PublishedAt)
            .limit(PRUNED_AT_A_TIME)
            .into_tuple()
            .all(db.read())
            .await
            .map_err(db_error)?;
        if positions.is_empty() {
            return Ok(());
        }
        Entity::delete_many()
            .filter(Expr::col(Column::Position).is_in(positions))
            .exec(db.write())
            .await
            .map_err(db_error)?;
    }
}
