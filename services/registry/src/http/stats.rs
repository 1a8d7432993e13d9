use actix_web::HttpResponse;
use sker_runtime::http::{HttpResult, answer};

use super::visitor::Visitor;
use crate::app::view::{HealthStats, InstanceStats, Stats};

/// The whole in numbers
#[utoipa::path(get, path = "/api/v1/stats", tag = "stats", responses((status = 200, body = Stats)))]
pub async fn all(visitor: Visitor) -> HttpResult<HttpResponse> {
    Ok(answer::ok(&visitor.directory.stats(&visitor)))
}

/// Instances in numbers
#[utoipa::path(get, path = "/api/v1/stats/instances", tag = "stats", responses((status = 200, body = InstanceStats)))]
pub async fn instances(visitor: Visitor) -> HttpResult<HttpResponse> {
    Ok(answer::ok(&visitor.directory.instance_stats(&visitor)))
}

/// Health in numbers
#[utoipa::path(get, path = "/api/v1/stats/health", tag = "stats", responses((status = 200, body = HealthStats)))]
pub async fn health(visitor: Visitor) -> HttpResult<HttpResponse> {
    Ok(answer::ok(&visitor.directory.health_stats(&visitor)))
}
