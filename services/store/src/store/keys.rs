//! Idempotency keys.

use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter, sea_query::OnConflict};
use sker_db::db_error;
use sker_error::Result;
use sker_types::Time;

pub(crate) use super::entity::idempotency_key::Model as IdempotencyKey;
use super::entity::idempotency_key::{Column, Entity};

/// Takes a key. Answers `None` when it was free, else who has it; waits for a transaction that is just taking it.
pub(crate) async fn take(conn: &impl ConnectionTrait, key: IdempotencyKey) -> Result<Option<IdempotencyKey>> {
    let free = OnConflict::columns([Column::UserId, Column::Key]).do_nothing().to_owned();
    let (user, name) = (key.user_id, key.key.clone());
    let insert = Entity::insert_many([key.into_active_model()]).on_conflict(free);
    if insert.exec_without_returning(conn).await.map_err(db_error)? == 1 {
        return Ok(None);
    }
    Entity::find_by_id((user, name)).one(conn).await.map_err(db_error)
}

/// Forgets keys that are older than `horizon`.
pub(crate) async fn prune(conn: &impl ConnectionTrait, horizon: Time) -> Result<u64> {
    let delete = Entity::delete_many().filter(Column::CreatedAt.lt(horizon));
    Ok(delete.exec(conn).await.map_err(db_error)?.rows_affected)
}
