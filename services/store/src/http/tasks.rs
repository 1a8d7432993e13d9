use actix_web::{HttpRequest, HttpResponse};
use sker_error::{Error, Result};
use sker_runtime::http::{Caller, HttpResult, JsonObject, OptionalJsonObject, answer, path_id, query};

use super::{
    bodies::{TaskBody, TaskPage, TaskPatch},
    cases::{Cases, expected, nested_in, nothing},
};
use crate::app::Task;

/// List tasks
///
/// Keyset pages, sorted by time of creation; `sort=-created_at` for the newest first. The same at `/projects/{project}/ai-tasks`, within one project.
#[utoipa::path(
    get, path = "/api/v1/ai-tasks", tag = "ai-tasks",
    params(
        ("project_id" = Option<Uuid>, Query),
        ("node_id" = Option<Uuid>, Query),
        ("type" = Option<String>, Query),
        ("status" = Option<String>, Query, description = "Any of these, with commas between"),
        ("priority" = Option<String>, Query),
        ("sort" = Option<String>, Query), ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)
    ),
    responses((status = 200, body = TaskPage), (status = 400))
)]
pub(super) async fn list(cases: Cases, caller: Caller, request: HttpRequest) -> HttpResult<HttpResponse> {
    let project = nested_in(&request)?;
    let query = query(&request)?;
    let page = cases.run(caller.ctx, |app, ctx| async move { app.list_tasks(&ctx, project, query).await }).await?;
    Ok(answer::page(&request, &page))
}

/// Make a task
///
/// The same at `/projects/{project}/ai-tasks`.
#[utoipa::path(
    post, path = "/api/v1/ai-tasks", tag = "ai-tasks", request_body = TaskBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "The same key and body: the same answer")),
    responses((status = 201, body = Task), (status = 400), (status = 404), (status = 422))
)]
pub(super) async fn create(
    cases: Cases,
    caller: Caller,
    request: HttpRequest,
    body: JsonObject,
) -> HttpResult<HttpResponse> {
    let project = nested_in(&request)?;
    let key = idempotency_key(&request)?;
    let case =
        cases.run(caller.ctx, |app, ctx| async move { app.create_task(&ctx, project, body.0, key.as_deref()).await });
    let task = case.await?;
    let location = format!("/api/v1/ai-tasks/{}", task.id);
    Ok(answer::with_version(answer::created(&location, &task), task.version))
}

/// Get a task
#[utoipa::path(
    get, path = "/api/v1/ai-tasks/{task}", tag = "ai-tasks",
    params(("task" = Uuid, Path), ("If-None-Match" = Option<String>, Header)),
    responses((status = 200, body = Task), (status = 304), (status = 404))
)]
pub(super) async fn get(cases: Cases, caller: Caller, request: HttpRequest) -> HttpResult<HttpResponse> {
    let id = path_id(&request, "task", "task")?;
    let task = cases.run(caller.ctx, |app, ctx| async move { app.get_task(&ctx, id).await }).await?;
    Ok(answer::resource(&request, task.version, &task)?)
}

/// Change a task that has not begun
///
/// A JSON merge patch (RFC 7396).
#[utoipa::path(
    patch, path = "/api/v1/ai-tasks/{task}", tag = "ai-tasks", request_body = TaskPatch,
    params(("task" = Uuid, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = Task), (status = 400), (status = 404), (status = 409), (status = 412))
)]
pub(super) async fn update(
    cases: Cases,
    caller: Caller,
    request: HttpRequest,
    body: JsonObject,
) -> HttpResult<HttpResponse> {
    let (id, expected) = (path_id(&request, "task", "task")?, expected(&request)?);
    let case = cases.run(caller.ctx, |app, ctx| async move { app.update_task(&ctx, id, body.0, &expected).await });
    let task = case.await?;
    Ok(answer::with_version(answer::ok(&task), task.version))
}

/// Delete a finished task
#[utoipa::path(
    delete, path = "/api/v1/ai-tasks/{task}", tag = "ai-tasks",
    params(("task" = Uuid, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 204), (status = 404), (status = 409), (status = 412))
)]
pub(super) async fn delete(cases: Cases, caller: Caller, request: HttpRequest) -> HttpResult<HttpResponse> {
    let (id, expected) = (path_id(&request, "task", "task")?, expected(&request)?);
    cases.run(caller.ctx, |app, ctx| async move { app.delete_task(&ctx, id, &expected).await }).await?;
    Ok(answer::no_content())
}

/// Cancel a task
///
/// A running one stops within a second. Of a cancelled task 200, of a finished one 409.
#[utoipa::path(
    post, path = "/api/v1/ai-tasks/{task}/cancel", tag = "ai-tasks", params(("task" = Uuid, Path)),
    responses((status = 200, body = Task), (status = 404), (status = 409))
)]
pub(super) async fn cancel(
    cases: Cases,
    caller: Caller,
    request: HttpRequest,
    body: OptionalJsonObject,
) -> HttpResult<HttpResponse> {
    nothing(body.0)?;
    let id = path_id(&request, "task", "task")?;
    let task = cases.run(caller.ctx, |app, ctx| async move { app.cancel_task(&ctx, id).await }).await?;
    Ok(answer::with_version(answer::ok(&task), task.version))
}

/// Run a failed or cancelled task again
#[utoipa::path(
    post, path = "/api/v1/ai-tasks/{task}/retry", tag = "ai-tasks", params(("task" = Uuid, Path)),
    responses((status = 200, body = Task), (status = 404), (status = 409))
)]
pub(super) async fn retry(
    cases: Cases,
    caller: Caller,
    request: HttpRequest,
    body: OptionalJsonObject,
) -> HttpResult<HttpResponse> {
    nothing(body.0)?;
    let id = path_id(&request, "task", "task")?;
    let task = cases.run(caller.ctx, |app, ctx| async move { app.retry_task(&ctx, id).await }).await?;
    Ok(answer::with_version(answer::ok(&task), task.version))
}

/// The request's `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header), with or without the quotes of a structured
/// field.
fn idempotency_key(request: &HttpRequest) -> Result<Option<String>> {
    let Some(value) = request.headers().get("idempotency-key") else { return Ok(None) };
    let text = value.to_str().map_err(|_| Error::invalid_request("the Idempotency-Key must be ASCII"))?.trim();
    let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    Ok(Some(bare.unwrap_or(text).to_owned()))
}
