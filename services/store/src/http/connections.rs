use actix_web::{HttpRequest, HttpResponse};
use sker_runtime::http::{Caller, HttpResult, JsonObject, answer, path_id, query};

use super::{
    bodies::{ConnectionBody, ConnectionPage},
    cases::{Cases, expected, nested_in},
};
use crate::app::Connection;

/// List connections
///
/// Keyset pages, sorted by time of creation; `sort=-created_at` for the newest first. The same at `/projects/{project}/connections`, within one project.
#[utoipa::path(
    get, path = "/api/v1/connections", tag = "connections",
    params(
        ("project_id" = Option<Uuid>, Query),
        ("source_node_id" = Option<Uuid>, Query),
        ("target_node_id" = Option<Uuid>, Query),
        ("node_id" = Option<Uuid>, Query, description = "At either end"),
        ("type" = Option<String>, Query),
        ("sort" = Option<String>, Query), ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)
    ),
    responses((status = 200, body = ConnectionPage), (status = 400))
)]
pub(super) async fn list(cases: Cases, caller: Caller, request: HttpRequest) -> HttpResult<HttpResponse> {
    let project = nested_in(&request)?;
    let query = query(&request)?;
    let page =
        cases.run(caller.ctx, |app, ctx| async move { app.list_connections(&ctx, project, query).await }).await?;
    Ok(answer::page(&request, &page))
}

/// Make a connection
///
/// The same at `/projects/{project}/connections`.
#[utoipa::path(
    post, path = "/api/v1/connections", tag = "connections", request_body = ConnectionBody,
    responses((status = 201, body = Connection), (status = 400), (status = 404), (status = 409))
)]
pub(super) async fn create(
    cases: Cases,
    caller: Caller,
    request: HttpRequest,
    body: JsonObject,
) -> HttpResult<HttpResponse> {
    let project = nested_in(&request)?;
    let case = cases.run(caller.ctx, |app, ctx| async move { app.create_connection(&ctx, project, body.0).await });
    let connection = case.await?;
    let location = format!("/api/v1/connections/{}", connection.id);
    Ok(answer::with_version(answer::created(&location, &connection), connection.version))
}

/// Get a connection
#[utoipa::path(
    get, path = "/api/v1/connections/{connection}", tag = "connections",
    params(("connection" = Uuid, Path), ("If-None-Match" = Option<String>, Header)),
    responses((status = 200, body = Connection), (status = 304), (status = 404))
)]
pub(super) async fn get(cases: Cases, caller: Caller, request: HttpRequest) -> HttpResult<HttpResponse> {
    let id = path_id(&request, "connection", "connection")?;
    let connection = cases.run(caller.ctx, |app, ctx| async move { app.get_connection(&ctx, id).await }).await?;
    Ok(answer::resource(&request, connection.version, &connection)?)
}

/// Change a connection
///
/// A JSON merge patch (RFC 7396).
#[utoipa::path(
    patch, path = "/api/v1/connections/{connection}", tag = "connections", request_body = ConnectionBody,
    params(("connection" = Uuid, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = Connection), (status = 400), (status = 404), (status = 409), (status = 412))
)]
pub(super) async fn update(
    cases: Cases,
    caller: Caller,
    request: HttpRequest,
    body: JsonObject,
) -> HttpResult<HttpResponse> {
    let (id, expected) = (path_id(&request, "connection", "connection")?, expected(&request)?);
    let case =
        cases.run(caller.ctx, |app, ctx| async move { app.update_connection(&ctx, id, body.0, &expected).await });
    let connection = case.await?;
    Ok(answer::with_version(answer::ok(&connection), connection.version))
}

/// Delete a connection
#[utoipa::path(
    delete, path = "/api/v1/connections/{connection}", tag = "connections",
    params(("connection" = Uuid, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 204), (status = 404), (status = 409), (status = 412))
)]
pub(super) async fn delete(cases: Cases, caller: Caller, request: HttpRequest) -> HttpResult<HttpResponse> {
    let (id, expected) = (path_id(&request, "connection", "connection")?, expected(&request)?);
    cases.run(caller.ctx, |app, ctx| async move { app.delete_connection(&ctx, id, &expected).await }).await?;
    Ok(answer::no_content())
}
