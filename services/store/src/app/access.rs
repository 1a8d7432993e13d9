//! What a caller may see and change. What cannot be seen does not exist: `not_found`, whatever the id.
//!
//! Projects are locked before what belongs to them, so that two transactions cannot wait for each other.

use sker_api::Ctx;
use sker_auth::policy::{Access, project_access, require};
use sker_error::{Error, Result};
use sker_types::Uuid;

use crate::store::{
    Conn,
    connections::{self, Connection},
    nodes::{self, Node},
    projects::{self, Project, Scope},
    tasks::{self, Task},
};

/// Whose projects the caller sees in lists.
pub(super) fn scope(ctx: &Ctx) -> Result<Scope> {
    if ctx.principal.is_admin() || ctx.principal.is_service() {
        return Ok(Scope::All);
    }
    ctx.principal.user_id().map(Scope::Owner).ok_or_else(|| Error::unauthenticated("sign in first"))
}

/// Asks for access to what belongs to a project. `what` names the thing that was asked for, not the project.
fn check(ctx: &Ctx, project: Option<Project>, needed: Access, what: &str) -> Result<Project> {
    let project = project.ok_or_else(|| Error::not_found(what))?;
    require(project_access(&ctx.principal, project.owner_id, None), needed, what)?;
    Ok(project)
}

/// A project, to be read.
pub(super) async fn project(conn: &impl Conn, ctx: &Ctx, id: Uuid) -> Result<Project> {
    check(ctx, projects::find(conn, id).await?, Access::View, "project")
}

/// A project in which something is to be changed. It cannot be deleted until the transaction ends.
pub(super) async fn project_to_fill(conn: &impl Conn, ctx: &Ctx, id: Uuid) -> Result<Project> {
    check(ctx, projects::find_shared(conn, id).await?, Access::Edit, "project")
}

/// A project that is to be changed itself.
pub(super) async fn project_to_change(conn: &impl Conn, ctx: &Ctx, id: Uuid, needed: Access) -> Result<Project> {
    check(ctx, projects::find_for_update(conn, id).await?, needed, "project")
}

/// A node, to be read.
pub(super) async fn node(conn: &impl Conn, ctx: &Ctx, id: Uuid) -> Result<Node> {
    let node = nodes::find(conn, id).await?.ok_or_else(|| Error::not_found("node"))?;
    check(ctx, projects::find(conn, node.project_id).await?, Access::View, "node")?;
    Ok(node)
}

/// A node that is to be changed.
pub(super) async fn node_to_change(conn: &impl Conn, ctx: &Ctx, id: Uuid) -> Result<Node> {
    let found = nodes::find(conn, id).await?.ok_or_else(|| Error::not_found("node"))?;
    check(ctx, projects::find_shared(conn, found.project_id).await?, Access::Edit, "node")?;
    nodes::find_for_update(conn, id).await?.ok_or_else(|| Error::not_found("node"))
}

/// A connection, to be read.
pub(super) async fn connection(conn: &impl Conn, ctx: &Ctx, id: Uuid) -> Result<Connection> {
    let connection = connections::find(conn, id).await?.ok_or_else(|| Error::not_found("connection"))?;
    check(ctx, projects::find(conn, connection.project_id).await?, Access::View, "connection")?;
    Ok(connection)
}

/// A connection that is to be changed, as it was before it is locked; its project is locked already.
pub(super) async fn connection_to_lock(conn: &impl Conn, ctx: &Ctx, id: Uuid) -> Result<Connection> {
    let found = connections::find(conn, id).await?.ok_or_else(|| Error::not_found("connection"))?;
    check(ctx, projects::find_shared(conn, found.project_id).await?, Access::Edit, "connection")?;
    Ok(found)
}

/// A connection that is to be changed.
pub(super) async fn connection_to_change(conn: &impl Conn, ctx: &Ctx, id: Uuid) -> Result<Connection> {
    connection_to_lock(conn, ctx, id).await?;
    connections::find_for_update(conn, id).await?.ok_or_else(|| Error::not_found("connection"))
}

/// A task, to be read.
pub(super) async fn task(conn: &impl Conn, ctx: &Ctx, id: Uuid) -> Result<Task> {
    let task = tasks::find(conn, id).await?.ok_or_else(|| Error::not_found("task"))?;
    check(ctx, projects::find(conn, task.project_id).await?, Access::View, "task")?;
    Ok(task)
}

/// A task that is to be changed.
pub(super) async fn task_to_change(conn: &impl Conn, ctx: &Ctx, id: Uuid) -> Result<Task> {
    let found = tasks::find(conn, id).await?.ok_or_else(|| Error::not_found("task"))?;
    check(ctx, projects::find_shared(conn, found.project_id).await?, Access::Edit, "task")?;
    tasks::find_for_update(conn, id).await?.ok_or_else(|| Error::not_found("task"))
}
