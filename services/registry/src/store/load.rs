use sea_orm::{EntityTrait, QuerySelect};
use sker_db::{Db, db_error};
use sker_error::Result;

use super::{
    entity::{event, group, instance, service},
    rows,
};
use crate::app::engine::WorkingSet;

/// Reads everything that was registered when the process last ran.
pub async fn load(db: &Db) -> Result<WorkingSet> {
    let groups = group::Entity::find().all(db.read()).await.map_err(db_error)?;
    let services = service::Entity::find().all(db.read()).await.map_err(db_error)?;
    let instances = instance::Entity::find().all(db.read()).await.map_err(db_error)?;
    let last_event: Option<Option<i64>> = event::Entity::find()
        .select_only()
        .column_as(sea_orm::ColumnTrait::max(&event::Column::Revision), "revision")
        .into_tuple()
        .one(db.read())
        .await
        .map_err(db_error)?;
    let known = instances.iter().map(|row| row.revision).chain(groups.iter().map(|row| row.revision));
    let max_revision = known.chain(last_event.flatten()).max().unwrap_or(0);
    Ok(WorkingSet {
        groups: groups.into_iter().map(rows::group_entry).collect(),
        services: services.into_iter().map(rows::service_entry).collect(),
        instances: instances.into_iter().map(rows::stored_instance).collect(),
        max_revision: rows::revision(max_revision),
    })
}
