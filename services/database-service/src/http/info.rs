use actix_web::{HttpResponse, web::Data};
use sker_runtime::http::{Caller, HttpResult, answer};

use super::State;
use crate::{SERVICE, VERSION, app::ServiceInfo};

/// What this service is.
#[utoipa::path(get, path = "/", tag = "service", responses((status = 200, body = ServiceInfo)))]
pub async fn service_info() -> HttpResponse {
    answer::ok(&ServiceInfo {
        service: SERVICE,
        version: VERSION,
        description: "Watches databases: checks, history, alerts, connection tests.",
        docs: "/docs",
        health: "/health",
        databases: "/api/database/status",
    })
}

/// The configuration in force, without secrets.
#[utoipa::path(get, path = "/api/database/config", tag = "service", responses((status = 200, body = Object)))]
pub async fn config(_caller: Caller, state: Data<State>) -> HttpResult<HttpResponse> {
    Ok(answer::ok(&state.config))
}
