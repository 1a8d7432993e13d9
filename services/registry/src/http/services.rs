use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web::Path};
use serde::{Deserialize, Serialize};
use sker_runtime::http::{HttpResult, JsonObject, answer};
use utoipa::ToSchema;

use super::{
    answer::{at_revision, ignoring},
    query::Parameters,
    visitor::Visitor,
};
use crate::app::view::ServiceView;

/// What is said about a service.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the body; app::services reads it")]
pub struct ServiceBody {
    service_name: String,
    #[schema(default = "default")]
    group_name: Option<String>,
    service_description: Option<String>,
    protocol_type: Option<String>,
    context_path: Option<String>,
    load_balance_strategy: Option<String>,
    health_check_url: Option<String>,
    health_check_interval_seconds: Option<u32>,
    #[schema(minimum = 0, maximum = 1, default = 0)]
    protection_threshold: Option<f64>,
    metadata_json: Option<String>,
    #[schema(value_type = Option<Object>)]
    metadata: Option<serde_json::Value>,
    tags_json: Option<String>,
    tags: Option<Vec<String>>,
    #[schema(default = "Y", pattern = "Y|N")]
    active_flag: Option<String>,
}

/// A part of the list of services.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceList {
    services: Vec<ServiceView>,
    /// How many there are on all pages.
    total: usize,
    /// For the next page.
    next_cursor: Option<String>,
}

/// List services
#[utoipa::path(
    get, path = "/api/v1/services", tag = "services",
    params(
        ("groupName" = Option<String>, Query, description = "every readable group when missing"),
        ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query),
    ),
    responses((status = 200, body = ServiceList))
)]
pub async fn list(visitor: Visitor, request: HttpRequest) -> HttpResult<HttpResponse> {
    let mut parameters = Parameters::of(&request)?;
    let group = parameters.text("groupName");
    list_of(&visitor, &group, parameters)
}

/// The services of one group, or of all when it is empty.
pub(super) fn list_of(visitor: &Visitor, group: &str, mut parameters: Parameters) -> HttpResult<HttpResponse> {
    let paging = parameters.paging();
    let ignored = parameters.finish()?;
    let page = visitor.directory.services(visitor, group, &paging)?;
    let services = page.items.iter().map(|snapshot| ServiceView::new(snapshot)).collect();
    let list = ServiceList { services, total: page.total, next_cursor: page.next_cursor };
    Ok(ignoring(answer::ok(&list), &ignored))
}

/// Create a service
///
/// 409 when it was created before. A service that only has instances so far becomes explicit.
#[utoipa::path(
    post, path = "/api/v1/services", tag = "services", request_body = ServiceBody,
    responses((status = 201, body = ServiceView), (status = 409))
)]
pub async fn create(visitor: Visitor, body: JsonObject) -> HttpResult<HttpResponse> {
    let understood = visitor.directory.create_service(&visitor, body.0).await?;
    let view = ServiceView::new(&understood.value);
    let location = format!("/api/v1/services/{}?groupName={}", path(&view.service_name), path(&view.group_name));
    Ok(ignoring(answer::created(&location, &view), &understood.ignored))
}

/// Get a service
#[utoipa::path(
    get, path = "/api/v1/services/{serviceName}", tag = "services",
    params(("serviceName" = String, Path), ("groupName" = Option<String>, Query)),
    responses((status = 200, body = ServiceView), (status = 304), (status = 404))
)]
pub async fn get(visitor: Visitor, request: HttpRequest, service: Path<String>) -> HttpResult<HttpResponse> {
    let group = Parameters::of(&request)?.text("groupName");
    let snapshot = visitor.directory.service(&visitor, &group, &service)?;
    at_revision(&request, snapshot.revision, &ServiceView::new(&snapshot))
}

/// Change what is said about a service
///
/// Fields that the body does not name stay as they are.
#[utoipa::path(
    put, path = "/api/v1/services/{serviceName}", tag = "services", request_body = ServiceBody,
    params(("serviceName" = String, Path), ("groupName" = Option<String>, Query)),
    responses((status = 200, body = ServiceView), (status = 404))
)]
pub async fn update(
    visitor: Visitor,
    request: HttpRequest,
    service: Path<String>,
    body: JsonObject,
) -> HttpResult<HttpResponse> {
    let group = Parameters::of(&request)?.text("groupName");
    let understood = visitor.directory.update_service(&visitor, &group, &service, body.0).await?;
    Ok(ignoring(answer::ok(&ServiceView::new(&understood.value)), &understood.ignored))
}

/// Delete a service
///
/// 409 while it has instances.
#[utoipa::path(
    delete, path = "/api/v1/services/{serviceName}", tag = "services",
    params(("serviceName" = String, Path), ("groupName" = Option<String>, Query)),
    responses((status = 204), (status = 404), (status = 409))
)]
pub async fn delete(visitor: Visitor, request: HttpRequest, service: Path<String>) -> HttpResult<HttpResponse> {
    let group = Parameters::of(&request)?.text("groupName");
    visitor.directory.delete_service(&visitor, &group, &service).await?;
    Ok(HttpResponse::new(StatusCode::NO_CONTENT))
}

/// A name as it stands in a URL (RFC 3986, unreserved characters as they are).
pub(super) fn path(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
