use actix_web::{HttpRequest, HttpResponse};
use sker_runtime::http::{Caller, HttpResult, JsonObject, answer, path_id, query};

use super::{
    bodies::{ProjectBody, ProjectPage},
    cases::{Cases, expected},
};
use crate::app::{Canvas, Project};

/// List projects
///
/// Keyset pages, sorted by time of creation; `sort=-created_at` for the newest first.
#[utoipa::path(
    get, path = "/api/v1/projects", tag = "projects",
    params(
        ("status" = Option<String>, Query),
        ("is_archived" = Option<bool>, Query),
        ("q" = Option<String>, Query, description = "In the name"),
        ("sort" = Option<String>, Query), ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)
    ),
    responses((status = 200, body = ProjectPage), (status = 400))
)]
pub(super) async fn list(cases: Cases, caller: Caller, request: HttpRequest) -> HttpResult<HttpResponse> {
    let query = query(&request)?;
    let page = cases.run(caller.ctx, |app, ctx| async move { app.list_projects(&ctx, query).await }).await?;
    Ok(answer::page(&request, &page))
}

/// Make a project
#[utoipa::path(
    post, path = "/api/v1/projects", tag = "projects", request_body = ProjectBody,
    responses((status = 201, body = Project), (status = 400), (status = 404), (status = 409))
)]
pub(super) async fn create(cases: Cases, caller: Caller, body: JsonObject) -> HttpResult<HttpResponse> {
    let case = cases.run(caller.ctx, |app, ctx| async move { app.create_project(&ctx, body.0).await });
    let project = case.await?;
    let location = format!("/api/v1/projects/{}", project.id);
    Ok(answer::with_version(answer::created(&location, &project), project.version))
}

/// Get a project
#[utoipa::path(
    get, path = "/api/v1/projects/{project}", tag = "projects",
    params(("project" = Uuid, Path), ("If-None-Match" = Option<String>, Header)),
    responses((status = 200, body = Project), (status = 304), (status = 404))
)]
pub(super) async fn get(cases: Cases, caller: Caller, request: HttpRequest) -> HttpResult<HttpResponse> {
    let id = path_id(&request, "project", "project")?;
    let project = cases.run(caller.ctx, |app, ctx| async move { app.get_project(&ctx, id).await }).await?;
    Ok(answer::resource(&request, project.version, &project)?)
}

/// Change a project
///
/// A JSON merge patch (RFC 7396).
#[utoipa::path(
    patch, path = "/api/v1/projects/{project}", tag = "projects", request_body = ProjectBody,
    params(("project" = Uuid, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = Project), (status = 400), (status = 404), (status = 409), (status = 412))
)]
pub(super) async fn update(
    cases: Cases,
    caller: Caller,
    request: HttpRequest,
    body: JsonObject,
) -> HttpResult<HttpResponse> {
    let (id, expected) = (path_id(&request, "project", "project")?, expected(&request)?);
    let case = cases.run(caller.ctx, |app, ctx| async move { app.update_project(&ctx, id, body.0, &expected).await });
    let project = case.await?;
    Ok(answer::with_version(answer::ok(&project), project.version))
}

/// Delete a project
#[utoipa::path(
    delete, path = "/api/v1/projects/{project}", tag = "projects",
    params(("project" = Uuid, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 204), (status = 404), (status = 409), (status = 412))
)]
pub(super) async fn delete(cases: Cases, caller: Caller, request: HttpRequest) -> HttpResult<HttpResponse> {
    let (id, expected) = (path_id(&request, "project", "project")?, expected(&request)?);
    cases.run(caller.ctx, |app, ctx| async move { app.delete_project(&ctx, id, &expected).await }).await?;
    Ok(answer::no_content())
}

/// Get a project with its nodes and connections
#[utoipa::path(
    get, path = "/api/v1/projects/{project}/canvas", tag = "projects",
    params(("project" = Uuid, Path), ("If-None-Match" = Option<String>, Header)),
    responses((status = 200, body = Canvas), (status = 304), (status = 404))
)]
pub(super) async fn canvas(cases: Cases, caller: Caller, request: HttpRequest) -> HttpResult<HttpResponse> {
    let id = path_id(&request, "project", "project")?;
    let canvas = cases.run(caller.ctx, |app, ctx| async move { app.canvas(&ctx, id).await }).await?;
    Ok(answer::resource(&request, canvas.revision(), &canvas)?)
}
