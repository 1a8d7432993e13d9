//! Counts for administrators.

use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QuerySelect,
    sea_query::{Expr, ExprTrait},
};
use sker_db::db_error;
use sker_error::Result;

use super::entity::{connection, node, project, task, user};

/// How much there is of everything.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    pub users: u64,
    pub projects: u64,
    pub nodes: u64,
    pub connections: u64,
    /// By status.
    pub tasks: Vec<(String, i64)>,
}

pub(crate) async fn counts(conn: &impl ConnectionTrait) -> Result<Counts> {
    let projects = project::Entity::find().filter(project::Column::DeletedAt.is_null());
    let nodes = node::Entity::find().filter(node::Column::DeletedAt.is_null());
    let connections = connection::Entity::find().filter(connection::Column::DeletedAt.is_null());
    let tasks = task::Entity::find()
        .select_only()
        .column(task::Column::Status)
        .column_as(Expr::col(task::Column::Id).count(), "count")
        .group_by(task::Column::Status);
    Ok(Counts {
        users: user::Entity::find().count(conn).await.map_err(db_error)?,
        projects: projects.count(conn).await.map_err(db_error)?,
        nodes: nodes.count(conn).await.map_err(db_error)?,
        connections: connections.count(conn).await.map_err(db_error)?,
        tasks: tasks.into_tuple().all(conn).await.map_err(db_error)?,
    })
}
