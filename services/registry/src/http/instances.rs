use actix_web::{HttpRequest, HttpResponse, http::StatusCode};
use serde::{Deserialize, Serialize};
use sker_runtime::http::{HttpResult, JsonObject, OptionalJsonObject, answer};
use utoipa::ToSchema;

use super::{answer::ignoring, visitor::Visitor};
use crate::app::{Changed, input, view::InstanceView};

/// What a client says about its instance.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the body; app::input reads it")]
pub struct RegisterBody {
    service_name: String,
    #[schema(default = "default")]
    group_name: Option<String>,
    host_address: String,
    #[schema(minimum = 1)]
    port_number: u16,
    context_path: Option<String>,
    #[schema(default = "UP", pattern = "UP|DOWN|STARTING|OUT_OF_SERVICE")]
    instance_status: Option<String>,
    #[schema(default = "HEALTHY", pattern = "HEALTHY|UNHEALTHY|UNKNOWN")]
    health_status: Option<String>,
    #[schema(minimum = 1, maximum = 10000, default = 100)]
    weight_value: Option<u32>,
    #[schema(default = "SERVICE")]
    client_type: Option<String>,
    metadata_json: Option<String>,
    #[schema(value_type = Option<Object>)]
    metadata: Option<serde_json::Value>,
    tags_json: Option<String>,
    tags: Option<Vec<String>>,
    #[schema(default = true)]
    ephemeral: Option<bool>,
    #[schema(default = 5)]
    heartbeat_interval_seconds: Option<u32>,
    #[schema(default = 15)]
    heartbeat_timeout_seconds: Option<u32>,
    #[schema(default = 30)]
    evict_after_seconds: Option<u32>,
}

/// Optional body of a heartbeat.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the body; app::input reads it")]
pub struct HeartbeatBody {
    active_connections: Option<u32>,
}

/// Ids to renew.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the body; app::input reads it")]
pub struct HeartbeatsBody {
    instance_ids: Vec<String>,
}

/// An instance's health.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the body; app::input reads it")]
pub struct HealthBody {
    #[schema(pattern = "HEALTHY|UNHEALTHY|UNKNOWN")]
    health_status: String,
}

/// An instance's status.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the body; app::input reads it")]
pub struct StatusBody {
    #[schema(pattern = "UP|DOWN|STARTING|OUT_OF_SERVICE")]
    instance_status: String,
}

/// What a batch of heartbeats came to.
#[derive(Serialize, ToSchema)]
pub struct RenewedView {
    /// How many leases were renewed.
    renewed: usize,
    /// Ids whose clients have to register again.
    unknown: Vec<String>,
}

/// Register an instance
///
/// The same tenant, group, service, host and port again is the same instance: 200 instead of 201. Fields that mean nothing
/// here are ignored and listed in `X-Ignored-Fields`.
#[utoipa::path(
    post, path = "/api/v1/instances", tag = "instances", request_body = RegisterBody,
    responses((status = 201, body = InstanceView), (status = 200, body = InstanceView))
)]
pub async fn register(visitor: Visitor, body: JsonObject) -> HttpResult<HttpResponse> {
    let understood = visitor.directory.register(&visitor, body.0).await?;
    let view = view(&understood.value);
    let response = if understood.value.created {
        answer::created(&format!("/api/v1/instances/{}", view.instance_id), &view)
    } else {
        answer::ok(&view)
    };
    Ok(ignoring(response, &understood.ignored))
}

/// Get an instance
#[utoipa::path(
    get, path = "/api/v1/instances/{instanceId}", tag = "instances", params(("instanceId" = String, Path)),
    responses((status = 200, body = InstanceView), (status = 404))
)]
pub async fn get(visitor: Visitor, request: HttpRequest) -> HttpResult<HttpResponse> {
    let instance = visitor.directory.instance(&visitor, id(&request))?;
    Ok(answer::ok(&InstanceView::live(&instance)))
}

/// Renew an instance's lease
///
/// 404 means that the client has to register again.
#[utoipa::path(
    put, path = "/api/v1/instances/{instanceId}/heartbeat", tag = "instances", request_body = Option<HeartbeatBody>,
    params(("instanceId" = String, Path)), responses((status = 200, body = InstanceView), (status = 404))
)]
pub async fn heartbeat(visitor: Visitor, request: HttpRequest, body: OptionalJsonObject) -> HttpResult<HttpResponse> {
    let understood = visitor.directory.heartbeat(&visitor, id(&request), body.0)?;
    Ok(ignoring(answer::ok(&InstanceView::live(&understood.value)), &understood.ignored))
}

/// Renew many leases
#[utoipa::path(
    post, path = "/api/v1/instances/heartbeats", tag = "instances", request_body = HeartbeatsBody,
    responses((status = 200, body = RenewedView))
)]
pub async fn heartbeats(visitor: Visitor, body: JsonObject) -> HttpResult<HttpResponse> {
    let understood = input::heartbeats(body.0)?;
    let outcome = visitor.directory.heartbeats(&visitor, understood.value);
    let view = RenewedView { renewed: outcome.renewed, unknown: outcome.unknown };
    Ok(ignoring(answer::ok(&view), &understood.ignored))
}

/// Report an instance's health
#[utoipa::path(
    put, path = "/api/v1/instances/{instanceId}/health", tag = "instances", request_body = HealthBody,
    params(("instanceId" = String, Path)), responses((status = 200, body = InstanceView), (status = 404))
)]
pub async fn set_health(visitor: Visitor, request: HttpRequest, body: JsonObject) -> HttpResult<HttpResponse> {
    let understood = input::health(body.0)?;
    let changed = visitor.directory.set_health(&visitor, id(&request), understood.value).await?;
    Ok(ignoring(answer::ok(&view(&changed)), &understood.ignored))
}

/// Override an instance's status
///
/// The override outlives what the instance says, registering again included, until it is lifted.
#[utoipa::path(
    put, path = "/api/v1/instances/{instanceId}/status", tag = "instances", request_body = StatusBody,
    params(("instanceId" = String, Path)), responses((status = 200, body = InstanceView), (status = 404))
)]
pub async fn override_status(visitor: Visitor, request: HttpRequest, body: JsonObject) -> HttpResult<HttpResponse> {
    let understood = input::status(body.0)?;
    let changed = visitor.directory.override_status(&visitor, id(&request), Some(understood.value)).await?;
    Ok(ignoring(answer::ok(&view(&changed)), &understood.ignored))
}

/// Lift the override of an instance's status
#[utoipa::path(
    delete, path = "/api/v1/instances/{instanceId}/status", tag = "instances", params(("instanceId" = String, Path)),
    responses((status = 200, body = InstanceView), (status = 404))
)]
pub async fn lift_override(visitor: Visitor, request: HttpRequest) -> HttpResult<HttpResponse> {
    let changed = visitor.directory.override_status(&visitor, id(&request), None).await?;
    Ok(answer::ok(&view(&changed)))
}

/// Deregister an instance
#[utoipa::path(
    delete, path = "/api/v1/instances/{instanceId}", tag = "instances", params(("instanceId" = String, Path)),
    responses((status = 204), (status = 404))
)]
pub async fn deregister(visitor: Visitor, request: HttpRequest) -> HttpResult<HttpResponse> {
    visitor.directory.deregister(&visitor, id(&request)).await?;
    Ok(HttpResponse::new(StatusCode::NO_CONTENT))
}

fn view(changed: &Changed) -> InstanceView {
    InstanceView { persisted: (!changed.persisted).then_some(false), ..InstanceView::live(&changed.instance) }
}

fn id(request: &HttpRequest) -> &str {
    request.match_info().get("instanceId").unwrap_or_default()
}
