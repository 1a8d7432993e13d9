use actix_web::{HttpRequest, HttpResponse};
use sker_runtime::http::{Caller, HttpResult, JsonObject, answer, path_id, query};

use super::{
    bodies::{NodeBatch, NodeBody, NodePage, NodeVersionPage},
    cases::{Cases, expected, nested_in},
};
use crate::app::{BatchOutcome, Node};

/// List nodes
///
/// Keyset pages, sorted by time of creation; `sort=-created_at` for the newest first. The same at `/projects/{project}/nodes`, within one project.
#[utoipa::path(
    get, path = "/api/v1/nodes", tag = "nodes",
    params(
        ("project_id" = Option<Uuid>, Query),
        ("status" = Option<String>, Query),
        ("importance" = Option<i64>, Query),
        ("ai_generated" = Option<bool>, Query),
        ("tags" = Option<String>, Query, description = "All of these, with commas between"),
        ("q" = Option<String>, Query, description = "In the title or content"),
        ("sort" = Option<String>, Query), ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)
    ),
    responses((status = 200, body = NodePage), (status = 400))
)]
pub(super) async fn list(cases: Cases, caller: Caller, request: HttpRequest) -> HttpResult<HttpResponse> {
    let project = nested_in(&request)?;
    let query = query(&request)?;
    let page = cases.run(caller.ctx, |app, ctx| async move { app.list_nodes(&ctx, project, query).await }).await?;
    Ok(answer::page(&request, &page))
}

/// Make a node
///
/// The same at `/projects/{project}/nodes`.
#[utoipa::path(
    post, path = "/api/v1/nodes", tag = "nodes", request_body = NodeBody,
    responses((status = 201, body = Node), (status = 400), (status = 404), (status = 409))
)]
pub(super) async fn create(
    cases: Cases,
    caller: Caller,
    request: HttpRequest,
    body: JsonObject,
) -> HttpResult<HttpResponse> {
    let project = nested_in(&request)?;
    let case = cases.run(caller.ctx, |app, ctx| async move { app.create_node(&ctx, project, body.0).await });
    let node = case.await?;
    let location = format!("/api/v1/nodes/{}", node.id);
    Ok(answer::with_version(answer::created(&location, &node), node.version))
}

/// Get a node
#[utoipa::path(
    get, path = "/api/v1/nodes/{node}", tag = "nodes",
    params(("node" = Uuid, Path), ("If-None-Match" = Option<String>, Header)),
    responses((status = 200, body = Node), (status = 304), (status = 404))
)]
pub(super) async fn get(cases: Cases, caller: Caller, request: HttpRequest) -> HttpResult<HttpResponse> {
    let id = path_id(&request, "node", "node")?;
    let node = cases.run(caller.ctx, |app, ctx| async move { app.get_node(&ctx, id).await }).await?;
    Ok(answer::resource(&request, node.version, &node)?)
}

/// Change a node
///
/// A JSON merge patch (RFC 7396).
#[utoipa::path(
    patch, path = "/api/v1/nodes/{node}", tag = "nodes", request_body = NodeBody,
    params(("node" = Uuid, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = Node), (status = 400), (status = 404), (status = 409), (status = 412))
)]
pub(super) async fn update(
    cases: Cases,
    caller: Caller,
    request: HttpRequest,
    body: JsonObject,
) -> HttpResult<HttpResponse> {
    let (id, expected) = (path_id(&request, "node", "node")?, expected(&request)?);
    let case = cases.run(caller.ctx, |app, ctx| async move { app.update_node(&ctx, id, body.0, &expected).await });
    let node = case.await?;
    Ok(answer::with_version(answer::ok(&node), node.version))
}

/// Delete a node
#[utoipa::path(
    delete, path = "/api/v1/nodes/{node}", tag = "nodes",
    params(("node" = Uuid, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 204), (status = 404), (status = 409), (status = 412))
)]
pub(super) async fn delete(cases: Cases, caller: Caller, request: HttpRequest) -> HttpResult<HttpResponse> {
    let (id, expected) = (path_id(&request, "node", "node")?, expected(&request)?);
    cases.run(caller.ctx, |app, ctx| async move { app.delete_node(&ctx, id, &expected).await }).await?;
    Ok(answer::no_content())
}

/// Make, change and delete many nodes
///
/// All of it happens or nothing.
#[utoipa::path(
    post, path = "/api/v1/projects/{project}/nodes:batch", tag = "nodes", request_body = NodeBatch,
    params(("project" = Uuid, Path)),
    responses((status = 200, body = BatchOutcome), (status = 400), (status = 404), (status = 412))
)]
pub(super) async fn batch(
    cases: Cases,
    caller: Caller,
    request: HttpRequest,
    body: JsonObject,
) -> HttpResult<HttpResponse> {
    let id = path_id(&request, "project", "project")?;
    let outcome = cases.run(caller.ctx, |app, ctx| async move { app.batch_nodes(&ctx, id, body.0).await }).await?;
    Ok(answer::ok(&outcome))
}

/// List the versions of a node
///
/// Newest first. Every change of its title, content, tags or metadata made one.
#[utoipa::path(
    get, path = "/api/v1/nodes/{node}/versions", tag = "nodes",
    params(
        ("node" = Uuid, Path),
        ("sort" = Option<String>, Query), ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)
    ),
    responses((status = 200, body = NodeVersionPage), (status = 404))
)]
pub(super) async fn versions(cases: Cases, caller: Caller, request: HttpRequest) -> HttpResult<HttpResponse> {
    let (id, query) = (path_id(&request, "node", "node")?, query(&request)?);
    let page = cases.run(caller.ctx, |app, ctx| async move { app.list_versions(&ctx, id, query).await }).await?;
    Ok(answer::page(&request, &page))
}
