use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web::Data};
use sker_runtime::{
    MainRuntime,
    http::{Caller, HttpResult, OptionalJsonObject, answer},
};

use super::{State, kind_of};
use crate::app::{Connections, TestReport, TestRequest};

/// The connections to the targets.
#[utoipa::path(get, path = "/api/database/connections", tag = "connections", responses((status = 200, body = Connections)))]
pub async fn connections(_caller: Caller, state: Data<State>) -> HttpResult<HttpResponse> {
    Ok(answer::ok(&state.monitor.connections()))
}

/// Tests a connection now, with the settings given or with those configured. Administrators only.
///
/// The body may name a `url` to try (with a `management_url` for RabbitMQ), or one `target`; without a body all targets of the
/// kind are tested. A test that fails is a 200 that says at which step.
#[utoipa::path(
    post,
    path = "/api/database/connections/test/{type}",
    tag = "connections",
    params(("type" = String, Path, description = "postgresql, sqlite, ...")),
    request_body(content = Option<Object>, description = r#"{"url", "management_url"} or {"target"}"#),
    responses((status = 200, body = TestReport), (status = 400), (status = 403), (status = 404))
)]
pub async fn test(
    caller: Caller,
    request: HttpRequest,
    body: OptionalJsonObject,
    state: Data<State>,
    main: Data<MainRuntime>,
) -> HttpResult<HttpResponse> {
    caller.require_admin()?;
    let kind = kind_of(&request)?;
    let wanted = TestRequest::read(body.0)?;
    let monitor = Arc::clone(&state.monitor);
    Ok(answer::ok(&main.run(async move { monitor.test(kind, wanted).await }).await?))
}
