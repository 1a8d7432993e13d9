//! Connections between nodes.

use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select,
    sea_query::{Expr, ExprTrait},
};
use sker_db::db_error;
use sker_error::{Code, Error, Result};
use sker_types::{Time, Uuid};

pub(crate) use super::entity::connection::Model as Connection;
use super::{
    IDS_PER_QUERY, Slice,
    entity::connection::{Column, Entity},
    insert_all, keyset,
    projects::Within,
    save,
};

/// Which connections to list.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    pub within: Within,
    pub source: Option<Uuid>,
    pub target: Option<Uuid>,
    /// At either end.
    pub node: Option<Uuid>,
    pub kind: Option<String>,
}

fn living() -> Select<Entity> {
    Entity::find().filter(Column::DeletedAt.is_null())
}

pub(crate) async fn find(conn: &impl ConnectionTrait, id: Uuid) -> Result<Option<Connection>> {
    living().filter(Column::Id.eq(id)).one(conn).await.map_err(db_error)
}

pub(crate) async fn find_for_update(conn: &impl ConnectionTrait, id: Uuid) -> Result<Option<Connection>> {
    living().filter(Column::Id.eq(id)).lock_exclusive().one(conn).await.map_err(db_error)
}

/// Inserts a connection; `conflict` when there is such an edge already.
pub(crate) async fn insert(conn: &impl ConnectionTrait, connection: Connection) -> Result<()> {
    insert_all(conn, vec![connection]).await.map_err(duplicate)
}

/// Changes a connection; `conflict` when there is such an edge already.
pub(crate) async fn update(conn: &impl ConnectionTrait, old: &Connection, new: &Connection) -> Result<()> {
    save(conn, Column::Id, Column::Version, old, new).await.map_err(duplicate)
}

/// Says what it is that exists already. The one unique index beside the key is that of edges.
fn duplicate(error: Error) -> Error {
    match error.code() {
        Code::Conflict if error.cause().is_some() => {
            Error::conflict("there is such a connection between these nodes already")
        }
        _ => error,
    }
}

/// Every connection that begins or ends at one of these nodes, locked. The nodes must have been read for update, so that none
/// is added meanwhile.
pub(crate) async fn touching_for_update(conn: &impl ConnectionTrait, nodes: &[Uuid]) -> Result<Vec<Connection>> {
    let mut ids: Vec<Uuid> = Vec::new();
    for chunk in nodes.chunks(IDS_PER_QUERY) {
        // One query per end, because each end has an index of its own.
        for end in [Column::SourceNodeId, Column::TargetNodeId] {
            let query = living().filter(end.is_in(chunk.iter().copied())).select_only().column(Column::Id);
            let found: Vec<Uuid> = query.into_tuple().all(conn).await.map_err(db_error)?;
            ids.extend(found);
        }
    }
    ids.sort_unstable();
    ids.dedup();
    let mut found: Vec<Connection> = Vec::with_capacity(ids.len());
    for chunk in ids.chunks(IDS_PER_QUERY) {
        // In one order everywhere, so that two transactions cannot wait for each other.
        let query = living().filter(Column::Id.is_in(chunk.iter().copied())).order_by_asc(Column::Id).lock_exclusive();
        found.extend(query.all(conn).await.map_err(db_error)?);
    }
    Ok(found)
}

/// Marks connections as deleted. The rows must have been read for update.
pub(crate) async fn delete(conn: &impl ConnectionTrait, ids: &[Uuid], at: Time) -> Result<()> {
    for chunk in ids.chunks(IDS_PER_QUERY) {
        let update = Entity::update_many()
            .col_expr(Column::DeletedAt, Expr::value(at))
            .col_expr(Column::UpdatedAt, Expr::value(at))
            .col_expr(Column::Version, Expr::col(Column::Version).add(1))
            .filter(Column::Id.is_in(chunk.iter().copied()))
            .filter(Column::DeletedAt.is_null());
        update.exec(conn).await.map_err(db_error)?;
    }
    Ok(())
}

pub(crate) async fn list(conn: &impl ConnectionTrait, filter: &Filter, slice: Slice) -> Result<Vec<Connection>> {
    let mut query = living().filter(filter.within.holds(Column::ProjectId));
    if let Some(source) = filter.source {
        query = query.filter(Column::SourceNodeId.eq(source));
    }
    if let Some(target) = filter.target {
        query = query.filter(Column::TargetNodeId.eq(target));
    }
    if let Some(node) = filter.node {
        query = query.filter(Condition::any().add(Column::SourceNodeId.eq(node)).add(Column::TargetNodeId.eq(node)));
    }
    if let Some(kind) = &filter.kind {
        query = query.filter(Column::Kind.eq(kind.as_str()));
    }
    keyset::slice(query, Column::CreatedAt, Column::Id, slice).all(conn).await.map_err(db_error)
}

/// All connections of a project, oldest first.
pub(crate) async fn all_of(conn: &impl ConnectionTrait, project: Uuid) -> Result<Vec<Connection>> {
    let query = living().filter(Column::ProjectId.eq(project));
    query.order_by_asc(Column::CreatedAt).order_by_asc(Column::Id).all(conn).await.map_err(db_error)
}
