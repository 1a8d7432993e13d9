use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web::Path};
use serde::{Deserialize, Serialize};
use sker_runtime::http::{HttpResult, JsonObject, answer};
use utoipa::ToSchema;

use super::{
    answer::ignoring,
    query::Parameters,
    services::{self, ServiceList, path},
    visitor::Visitor,
};
use crate::app::view::GroupView;

/// What is said about a group.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the body; app::groups reads it")]
pub struct GroupBody {
    group_name: String,
    group_description: Option<String>,
    #[schema(default = "BUSINESS")]
    group_type: Option<String>,
    owner_user_id: Option<String>,
    admin_user_ids: Option<Vec<String>>,
    read_user_ids: Option<Vec<String>>,
    #[schema(default = "N", pattern = "Y|N")]
    access_control_enabled: Option<String>,
    default_protocol_type: Option<String>,
    default_load_balance_strategy: Option<String>,
    default_health_check_url: Option<String>,
    default_health_check_interval_seconds: Option<u32>,
    #[schema(default = "Y", pattern = "Y|N")]
    active_flag: Option<String>,
}

/// A part of the list of groups.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupList {
    groups: Vec<GroupView>,
    /// How many there are on all pages.
    total: usize,
    /// For the next page.
    next_cursor: Option<String>,
}

/// List groups
#[utoipa::path(
    get, path = "/api/v1/groups", tag = "groups",
    params(("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = GroupList))
)]
pub async fn list(visitor: Visitor, request: HttpRequest) -> HttpResult<HttpResponse> {
    let mut parameters = Parameters::of(&request)?;
    let paging = parameters.paging();
    let ignored = parameters.finish()?;
    let page = visitor.directory.groups(&visitor, &paging)?;
    let list = GroupList { groups: page.items, total: page.total, next_cursor: page.next_cursor };
    Ok(ignoring(answer::ok(&list), &ignored))
}

/// Create a group
///
/// 409 when it was created before. A group that only has services so far becomes explicit.
#[utoipa::path(
    post, path = "/api/v1/groups", tag = "groups", request_body = GroupBody,
    responses((status = 201, body = GroupView), (status = 409))
)]
pub async fn create(visitor: Visitor, body: JsonObject) -> HttpResult<HttpResponse> {
    let understood = visitor.directory.create_group(&visitor, body.0).await?;
    let view = GroupView::explicit(&understood.value);
    let response = answer::created(&format!("/api/v1/groups/{}", path(&view.group_name)), &view);
    Ok(ignoring(response, &understood.ignored))
}

/// Get a group
#[utoipa::path(
    get, path = "/api/v1/groups/{groupName}", tag = "groups", params(("groupName" = String, Path)),
    responses((status = 200, body = GroupView), (status = 404))
)]
pub async fn get(visitor: Visitor, group: Path<String>) -> HttpResult<HttpResponse> {
    Ok(answer::ok(&visitor.directory.group(&visitor, &group)?))
}

/// Change what is said about a group
///
/// Fields that the body does not name stay as they are.
#[utoipa::path(
    put, path = "/api/v1/groups/{groupName}", tag = "groups", request_body = GroupBody,
    params(("groupName" = String, Path)), responses((status = 200, body = GroupView), (status = 404))
)]
pub async fn update(visitor: Visitor, group: Path<String>, body: JsonObject) -> HttpResult<HttpResponse> {
    let understood = visitor.directory.update_group(&visitor, &group, body.0).await?;
    Ok(ignoring(answer::ok(&GroupView::explicit(&understood.value)), &understood.ignored))
}

/// Delete a group
///
/// 409 while instances are registered in it.
#[utoipa::path(
    delete, path = "/api/v1/groups/{groupName}", tag = "groups", params(("groupName" = String, Path)),
    responses((status = 204), (status = 404), (status = 409))
)]
pub async fn delete(visitor: Visitor, group: Path<String>) -> HttpResult<HttpResponse> {
    visitor.directory.delete_group(&visitor, &group).await?;
    Ok(HttpResponse::new(StatusCode::NO_CONTENT))
}

/// List a group's services
#[utoipa::path(
    get, path = "/api/v1/groups/{groupName}/services", tag = "groups",
    params(("groupName" = String, Path), ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = ServiceList), (status = 404))
)]
pub async fn services(visitor: Visitor, request: HttpRequest, group: Path<String>) -> HttpResult<HttpResponse> {
    visitor.directory.group(&visitor, &group)?;
    services::list_of(&visitor, &group, Parameters::of(&request)?)
}
