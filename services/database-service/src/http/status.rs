use actix_web::{HttpRequest, HttpResponse, web::Data};
use sker_runtime::http::{Caller, HttpResult, answer, query};

use super::{State, kind_of};
use crate::app::{Alerts, HISTORY_LENGTH, HealthView, History, KindStatus, Metrics, StatusView};

/// Every configured target, with the figures of all together.
#[utoipa::path(get, path = "/api/database/health", tag = "databases", responses((status = 200, body = HealthView)))]
pub async fn health(_caller: Caller, state: Data<State>) -> HttpResult<HttpResponse> {
    Ok(answer::ok(&state.monitor.health()))
}

/// How every kind of database is, configured or not.
#[utoipa::path(get, path = "/api/database/status", tag = "databases", responses((status = 200, body = StatusView)))]
pub async fn status(_caller: Caller, state: Data<State>) -> HttpResult<HttpResponse> {
    Ok(answer::ok(&state.monitor.status()))
}

/// How the targets of one kind are.
#[utoipa::path(
    get,
    path = "/api/database/status/{type}",
    tag = "databases",
    params(("type" = String, Path, description = "postgresql, sqlite, ...")),
    responses((status = 200, body = KindStatus), (status = 404, description = "no such type"))
)]
pub async fn kind_status(_caller: Caller, request: HttpRequest, state: Data<State>) -> HttpResult<HttpResponse> {
    Ok(answer::ok(&state.monitor.kind_status(kind_of(&request)?)))
}

/// Figures of all targets together.
#[utoipa::path(get, path = "/api/database/metrics", tag = "databases", responses((status = 200, body = Metrics)))]
pub async fn metrics(_caller: Caller, state: Data<State>) -> HttpResult<HttpResponse> {
    Ok(answer::ok(&state.monitor.metrics()))
}

/// The last checks of one kind's targets, newest first. The last 100 of each target are kept.
#[utoipa::path(
    get,
    path = "/api/database/history/{type}",
    tag = "databases",
    params(
        ("type" = String, Path, description = "postgresql, sqlite, ..."),
        ("target" = Option<String>, Query, description = "only this target's"),
        ("limit" = Option<u32>, Query, description = "at most so many; 100 when not given"),
    ),
    responses((status = 200, body = History), (status = 404, description = "no such type or target"))
)]
pub async fn history(_caller: Caller, request: HttpRequest, state: Data<State>) -> HttpResult<HttpResponse> {
    let kind = kind_of(&request)?;
    let mut fields = query(&request)?;
    let target = fields.bounded("target", 64);
    let limit = fields.integer("limit", 1..=HISTORY_LENGTH as i64);
    fields.finish()?;
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(HISTORY_LENGTH);
    Ok(answer::ok(&state.monitor.history(kind, target.as_deref(), limit)?))
}

/// Targets that are not well.
#[utoipa::path(get, path = "/api/database/alerts", tag = "databases", responses((status = 200, body = Alerts)))]
pub async fn alerts(_caller: Caller, state: Data<State>) -> HttpResult<HttpResponse> {
    Ok(answer::ok(&state.monitor.alerts()))
}
