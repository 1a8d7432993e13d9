use actix_web::{HttpRequest, HttpResponse};
use sker_runtime::http::{Caller, HttpResult, JsonObject, OptionalJsonObject, answer};

use super::{
    bodies::{Login, Refresh, Registration},
    cases::{Cases, nothing},
    origin::origin,
};
use crate::app::{Session, User};

/// Sign up
///
/// Makes an account and signs it in.
#[utoipa::path(
    post, path = "/api/v1/auth/register", tag = "auth", request_body = Registration, security(()),
    responses((status = 201, body = Session), (status = 400), (status = 409, description = "The email or username is taken"))
)]
pub(super) async fn register(cases: Cases, body: JsonObject) -> HttpResult<HttpResponse> {
    let session = cases.run_for_anybody(|app| async move { app.register(body.0).await }).await?;
    Ok(answer::created("/api/v1/auth/me", &session))
}

/// Sign in
#[utoipa::path(
    post, path = "/api/v1/auth/login", tag = "auth", request_body = Login, security(()),
    responses((status = 200, body = Session), (status = 401), (status = 429, description = "Too many failures; see Retry-After"))
)]
pub(super) async fn login(cases: Cases, request: HttpRequest, body: JsonObject) -> HttpResult<HttpResponse> {
    let origin = origin(&request);
    let session = cases.run_for_anybody(|app| async move { app.login(body.0, &origin).await }).await?;
    Ok(answer::ok(&session))
}

/// Trade a refresh token for a new pair
///
/// Each is good once. One that is used again revokes everything that came from the same sign-in.
#[utoipa::path(
    post, path = "/api/v1/auth/refresh", tag = "auth", request_body = Refresh, security(()),
    responses((status = 200, body = Session), (status = 401))
)]
pub(super) async fn refresh(cases: Cases, body: JsonObject) -> HttpResult<HttpResponse> {
    let session = cases.run_for_anybody(|app| async move { app.refresh(body.0).await }).await?;
    Ok(answer::ok(&session))
}

/// Sign out
///
/// Ends the session; its access tokens live on until they expire.
#[utoipa::path(post, path = "/api/v1/auth/logout", tag = "auth", responses((status = 204), (status = 401)))]
pub(super) async fn logout(cases: Cases, caller: Caller, body: OptionalJsonObject) -> HttpResult<HttpResponse> {
    nothing(body.0)?;
    cases.run(caller.ctx, |app, ctx| async move { app.logout(&ctx).await }).await?;
    Ok(answer::no_content())
}

/// Who I am
#[utoipa::path(get, path = "/api/v1/auth/me", tag = "auth", responses((status = 200, body = User), (status = 401)))]
pub(super) async fn me(cases: Cases, caller: Caller, request: HttpRequest) -> HttpResult<HttpResponse> {
    let user = cases.run(caller.ctx, |app, ctx| async move { app.me(&ctx).await }).await?;
    Ok(answer::resource(&request, user.version, &user)?)
}
