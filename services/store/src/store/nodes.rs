//! Nodes and their versions.

use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select,
    sea_query::{Expr, ExprTrait, Func, LockType},
};
use sker_db::db_error;
use sker_error::Result;
use sker_types::{Time, Uuid};

pub(crate) use super::entity::{node::Model as Node, node_version::Model as NodeVersion};
use super::{
    IDS_PER_QUERY, Slice,
    entity::{
        node::{Column, Entity},
        node_version,
    },
    insert_all, keyset, mentions,
    projects::Within,
    save,
};

/// Which nodes to list.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    pub within: Within,
    pub status: Option<String>,
    pub importance: Option<i64>,
    pub ai_generated: Option<bool>,
    /// Has all of these.
    pub tags: Vec<String>,
    /// Stands in the title or the content.
    pub text: Option<String>,
}

fn living() -> Select<Entity> {
    Entity::find().filter(Column::DeletedAt.is_null())
}

pub(crate) async fn find(conn: &impl ConnectionTrait, id: Uuid) -> Result<Option<Node>> {
    living().filter(Column::Id.eq(id)).one(conn).await.map_err(db_error)
}

pub(crate) async fn find_for_update(conn: &impl ConnectionTrait, id: Uuid) -> Result<Option<Node>> {
    living().filter(Column::Id.eq(id)).lock_exclusive().one(conn).await.map_err(db_error)
}

/// Nodes of a project by id, in no particular order, locked.
pub(crate) async fn find_many_for_update(
    conn: &impl ConnectionTrait,
    project: Uuid,
    ids: &[Uuid],
) -> Result<Vec<Node>> {
    let mut found = Vec::with_capacity(ids.len());
    for chunk in ids.chunks(IDS_PER_QUERY) {
        let query = living().filter(Column::ProjectId.eq(project)).filter(Column::Id.is_in(chunk.iter().copied()));
        // In one order everywhere, so that two transactions cannot wait for each other.
        found.extend(query.order_by_asc(Column::Id).lock_exclusive().all(conn).await.map_err(db_error)?);
    }
    Ok(found)
}

/// Nodes by id, of one project, in no particular order.
pub(crate) async fn find_many(conn: &impl ConnectionTrait, project: Uuid, ids: &[Uuid]) -> Result<Vec<Node>> {
    let query = living().filter(Column::ProjectId.eq(project)).filter(Column::Id.is_in(ids.iter().copied()));
    query.all(conn).await.map_err(db_error)
}

/// Which of these ids are nodes of the project; they cannot be read for update, and so not be deleted, until the
/// transaction ends.
pub(crate) async fn hold(conn: &impl ConnectionTrait, project: Uuid, ids: &[Uuid]) -> Result<Vec<Uuid>> {
    let query = living().filter(Column::ProjectId.eq(project)).filter(Column::Id.is_in(ids.iter().copied()));
    let query = query.select_only().column(Column::Id).order_by_asc(Column::Id).lock(LockType::KeyShare);
    query.into_tuple().all(conn).await.map_err(db_error)
}

/// Which of these ids are nodes of the project.
pub(crate) async fn existing(conn: &impl ConnectionTrait, project: Uuid, ids: &[Uuid]) -> Result<Vec<Uuid>> {
    let mut found = Vec::with_capacity(ids.len());
    for chunk in ids.chunks(IDS_PER_QUERY) {
        let query = living().filter(Column::ProjectId.eq(project)).filter(Column::Id.is_in(chunk.iter().copied()));
        let ids: Vec<Uuid> = query.select_only().column(Column::Id).into_tuple().all(conn).await.map_err(db_error)?;
        found.extend(ids);
    }
    Ok(found)
}

pub(crate) async fn insert(conn: &impl ConnectionTrait, nodes: Vec<Node>) -> Result<()> {
    insert_all(conn, nodes).await
}

pub(crate) async fn update(conn: &impl ConnectionTrait, old: &Node, new: &Node) -> Result<()> {
    save(conn, Column::Id, Column::Version, old, new).await
}

/// Marks nodes as deleted. The rows must have been read for update.
pub(crate) async fn delete(conn: &impl ConnectionTrait, ids: &[Uuid], at: Time) -> Result<()> {
    for chunk in ids.chunks(IDS_PER_QUERY) {
        let update = Entity::update_many()
            .col_expr(Column::DeletedAt, Expr::value(at))
            .col_expr(Column::UpdatedAt, Expr::value(at))
            .col_expr(Column::Status, Expr::value("deleted"))
            .col_expr(Column::Version, Expr::col(Column::Version).add(1))
            .filter(Column::Id.is_in(chunk.iter().copied()))
            .filter(Column::DeletedAt.is_null());
        update.exec(conn).await.map_err(db_error)?;
    }
    Ok(())
}

pub(crate) async fn list(conn: &impl ConnectionTrait, filter: &Filter, slice: Slice) -> Result<Vec<Node>> {
    let mut query = living().filter(filter.within.holds(Column::ProjectId));
    if let Some(status) = &filter.status {
        query = query.filter(Column::Status.eq(status.as_str()));
    }
    if let Some(importance) = filter.importance {
        query = query.filter(Column::Importance.eq(importance));
    }
    if let Some(ai_generated) = filter.ai_generated {
        query = query.filter(Column::AiGenerated.eq(ai_generated));
    }
    for tag in &filter.tags {
        // As it stands in the JSON text, which both databases spell alike.
        let spelled = serde_json::Value::from(tag.as_str()).to_string();
        // Not LIKE, which on SQLite takes no notice of case.
        let tags = || Expr::col(Column::Tags).cast_as("text");
        let without = Func::cust("replace").args([tags(), Expr::value(spelled), Expr::value("")]);
        query = query.filter(tags().ne(Expr::expr(without)));
    }
    if let Some(text) = &filter.text {
        query = query.filter(Condition::any().add(mentions(Column::Title, text)).add(mentions(Column::Content, text)));
    }
    keyset::slice(query, Column::CreatedAt, Column::Id, slice).all(conn).await.map_err(db_error)
}

/// All nodes of a project, oldest first.
pub(crate) async fn all_of(conn: &impl ConnectionTrait, project: Uuid) -> Result<Vec<Node>> {
    let query = living().filter(Column::ProjectId.eq(project));
    query.order_by_asc(Column::CreatedAt).order_by_asc(Column::Id).all(conn).await.map_err(db_error)
}

pub(crate) async fn insert_versions(conn: &impl ConnectionTrait, versions: Vec<NodeVersion>) -> Result<()> {
    insert_all(conn, versions).await
}

pub(crate) async fn versions(conn: &impl ConnectionTrait, node: Uuid, slice: Slice) -> Result<Vec<NodeVersion>> {
    let query = node_version::Entity::find().filter(node_version::Column::NodeId.eq(node));
    let query = keyset::slice(query, node_version::Column::CreatedAt, node_version::Column::Id, slice);
    query.all(conn).await.map_err(db_error)
}
