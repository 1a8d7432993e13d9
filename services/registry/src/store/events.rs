//! The event log.

use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use sker_db::{Db, db_error};
use sker_error::Result;
use sker_types::Time;

use super::{
    entity::event::{Column, Entity},
    rows,
};
use crate::app::{EventQuery, view::EventView};

/// Events that are deleted at a time, so that the writer is never held for long.
const PRUNED_AT_A_TIME: u64 = 1_000;

/// Stored events, newest first.
pub(super) async fn list(db: &Db, query: &EventQuery) -> Result<Vec<EventView>> {
    let mut select = Entity::find().filter(Column::TenantId.eq(query.tenant.as_str()));
    for (column, wanted) in [
        (Column::GroupName, &query.group),
        (Column::ServiceName, &query.service),
        (Column::InstanceId, &query.instance_id),
        (Column::EventType, &query.kind),
    ] {
        if !wanted.is_empty() {
            select = select.filter(column.eq(wanted.as_str()));
        }
    }
    if !query.hidden_group.is_empty() {
        select = select.filter(Column::GroupName.ne(query.hidden_group.as_str()));
    }
    if let Some(since) = query.since {
        select = select.filter(Column::EventTime.gte(since));
    }
    if let Some(until) = query.until {
        select = select.filter(Column::EventTime.lt(until));
    }
    if let Some(before) = query.before {
        select = select.filter(Column::Revision.lt(rows::revision_column(before)));
    }
    let found = select.order_by_desc(Column::Revision).limit(query.limit).all(db.read()).await.map_err(db_error)?;
    Ok(found.into_iter().map(rows::event_view).collect())
}

/// Deletes events from before a time.
pub(super) async fn prune(db: &Db, before: Time) -> Result<()> {
    loop {
        let old: Vec<sker_types::Uuid> = Entity::find()
            .select_only()
            .column(Column::EventId)
            .filter(Column::EventTime.lt(before))
            .limit(PRUNED_AT_A_TIME)
            .into_tuple()
            .all(db.read())
            .await
            .map_err(db_error)?;
        if old.is_empty() {
            return Ok(());
        }
        Entity::delete_many().filter(Column::EventId.is_in(old)).exec(db.write()).await.map_err(db_error)?;
    }
}
