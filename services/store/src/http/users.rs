use actix_web::{HttpRequest, HttpResponse};
use sker_runtime::http::{Caller, HttpResult, JsonObject, answer, path_id, query};

use super::{
    bodies::{UserPage, UserPatch},
    cases::{Cases, expected},
};
use crate::app::User;

/// List accounts
///
/// For administrators.
#[utoipa::path(
    get, path = "/api/v1/users", tag = "users",
    params(
        ("role" = Option<String>, Query), ("is_active" = Option<bool>, Query),
        ("q" = Option<String>, Query, description = "In the email or username"),
        ("sort" = Option<String>, Query), ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)
    ),
    responses((status = 200, body = UserPage), (status = 403))
)]
pub(super) async fn list(cases: Cases, caller: Caller, request: HttpRequest) -> HttpResult<HttpResponse> {
    let query = query(&request)?;
    let page = cases.run(caller.ctx, |app, ctx| async move { app.list_users(&ctx, query).await }).await?;
    Ok(answer::page(&request, &page))
}

/// Get an account
///
/// One's own; any for administrators.
#[utoipa::path(
    get, path = "/api/v1/users/{user}", tag = "users",
    params(("user" = Uuid, Path)), responses((status = 200, body = User), (status = 304), (status = 404))
)]
pub(super) async fn get(cases: Cases, caller: Caller, request: HttpRequest) -> HttpResult<HttpResponse> {
    let id = path_id(&request, "user", "user")?;
    let user = cases.run(caller.ctx, |app, ctx| async move { app.get_user(&ctx, id).await }).await?;
    Ok(answer::resource(&request, user.version, &user)?)
}

/// Change an account
#[utoipa::path(
    patch, path = "/api/v1/users/{user}", tag = "users", request_body = UserPatch,
    params(("user" = Uuid, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = User), (status = 400), (status = 404), (status = 409), (status = 412))
)]
pub(super) async fn update(
    cases: Cases,
    caller: Caller,
    request: HttpRequest,
    body: JsonObject,
) -> HttpResult<HttpResponse> {
    let (id, expected) = (path_id(&request, "user", "user")?, expected(&request)?);
    let case = cases.run(caller.ctx, |app, ctx| async move { app.update_user(&ctx, id, body.0, &expected).await });
    let user = case.await?;
    Ok(answer::with_version(answer::ok(&user), user.version))
}
