//! Projects.

use std::time::Duration;

use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect,
    sea_query::{Expr, ExprTrait, LockType, Query, SelectStatement, SimpleExpr},
};
use sker_db::db_error;
use sker_error::Result;
use sker_types::{Time, Uuid};

pub(crate) use super::entity::project::Model as Project;
use super::{
    Slice,
    entity::project::{Column, Entity},
    insert_all, keyset, mentions, save,
};

/// Whose projects a caller may see in lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Everybody's.
    All,
    /// A user's own.
    Owner(Uuid),
}

/// Where to look for what belongs to projects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Within {
    /// In one project.
    Project(Uuid),
    /// In every project of the scope.
    Scope(Scope),
}

impl Within {
    /// The condition on a column that names the project.
    pub(super) fn holds(self, project: impl ColumnTrait) -> SimpleExpr {
        match self {
            Within::Project(id) => project.eq(id),
            Within::Scope(Scope::Owner(owner)) => project.in_subquery(owned_by(owner)),
            Within::Scope(Scope::All) => project.in_subquery(living()),
        }
    }
}

/// Which projects to list.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    pub scope: Scope,
    pub status: Option<String>,
    pub is_archived: Option<bool>,
    pub text: Option<String>,
}

pub(crate) async fn find(conn: &impl ConnectionTrait, id: Uuid) -> Result<Option<Project>> {
    Entity::find_by_id(id).filter(Column::DeletedAt.is_null()).one(conn).await.map_err(db_error)
}

/// For whoever changes what belongs to the project: it cannot be read for update, and so not be deleted, until the
/// transaction ends. Not against [`touch`], which would otherwise wait for everybody who writes.
pub(crate) async fn find_shared(conn: &impl ConnectionTrait, id: Uuid) -> Result<Option<Project>> {
    Entity::find_by_id(id)
        .filter(Column::DeletedAt.is_null())
        .lock(LockType::KeyShare)
        .one(conn)
        .await
        .map_err(db_error)
}

pub(crate) async fn find_for_update(conn: &impl ConnectionTrait, id: Uuid) -> Result<Option<Project>> {
    Entity::find_by_id(id).filter(Column::DeletedAt.is_null()).lock_exclusive().one(conn).await.map_err(db_error)
}

pub(crate) async fn insert(conn: &impl ConnectionTrait, project: Project) -> Result<()> {
    insert_all(conn, vec![project]).await
}

pub(crate) async fn update(conn: &impl ConnectionTrait, old: &Project, new: &Project) -> Result<()> {
    save(conn, Column::Id, Column::Version, old, new).await
}

pub(crate) async fn list(conn: &impl ConnectionTrait, filter: &Filter, slice: Slice) -> Result<Vec<Project>> {
    let mut query = Entity::find().filter(Column::DeletedAt.is_null());
    if let Scope::Owner(owner) = filter.scope {
        query = query.filter(Column::OwnerId.eq(owner));
    }
    if let Some(status) = &filter.status {
        query = query.filter(Column::Status.eq(status.as_str()));
    }
    if let Some(is_archived) = filter.is_archived {
        query = query.filter(Column::IsArchived.eq(is_archived));
    }
    if let Some(text) = &filter.text {
        query = query.filter(mentions(Column::Name, text));
    }
    keyset::slice(query, Column::CreatedAt, Column::Id, slice).all(conn).await.map_err(db_error)
}

/// How exactly it is known when a project was last opened.
pub(crate) const TOUCHED_EVERY: Duration = Duration::from_secs(60);

/// Notes that somebody opened a project, at most once in [`TOUCHED_EVERY`]. Not a change of the resource that others could be in
/// conflict with.
pub(crate) async fn touch(conn: &impl ConnectionTrait, id: Uuid, at: Time) -> Result<()> {
    let stale =
        Condition::any().add(Column::LastAccessedAt.is_null()).add(Column::LastAccessedAt.lt(at - TOUCHED_EVERY));
    let update = Entity::update_many().col_expr(Column::LastAccessedAt, Expr::value(at));
    update.filter(Column::Id.eq(id)).filter(stale).exec(conn).await.map_err(db_error)?;
    Ok(())
}

/// The ids of a user's projects.
fn owned_by(owner: Uuid) -> SelectStatement {
    Query::select()
        .column(Column::Id)
        .from(Entity)
        .and_where(Expr::col(Column::OwnerId).eq(owner))
        .and_where(Expr::col(Column::DeletedAt).is_null())
        .take()
}

/// The ids of everybody's projects.
fn living() -> SelectStatement {
    Query::select().column(Column::Id).from(Entity).and_where(Expr::col(Column::DeletedAt).is_null()).take()
}
