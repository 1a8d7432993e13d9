use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, HeaderValue},
    web::Path,
};
use sker_runtime::http::{HttpResult, answer::with_version, is_not_modified};

use super::{
    answer::{ignoring, version},
    query::Parameters,
    visitor::Visitor,
};
use crate::app::{Filter, LONGEST_WAIT, Wait, view::DiscoveryView};

/// How long a blocking read waits when it does not say.
const USUAL_WAIT: Duration = Duration::from_secs(30);

/// Find instances of a service
///
/// Everything named must hold: `status`, `health`, every one of `tags`, every `metadata.KEY=VALUE`. A service of which nothing
/// is known has no instances. The ETag is the revision. With `index` the answer waits until the revision is another, at most
/// `wait`.
#[utoipa::path(
    get, path = "/api/v1/services/{serviceName}/instances", tag = "discovery",
    params(
        ("serviceName" = String, Path),
        ("groupName" = Option<String>, Query, description = "`default` when missing"),
        ("status" = Option<String>, Query), ("health" = Option<String>, Query),
        ("tags" = Option<String>, Query, description = "may be repeated or have commas"),
        ("metadata.KEY" = Option<String>, Query, description = "for any key"),
        ("index" = Option<String>, Query, description = "the revision that the caller has"),
        ("wait" = Option<String>, Query, description = "as in 30s; at most 10m"),
    ),
    responses((status = 200, body = DiscoveryView), (status = 304))
)]
pub async fn discover(visitor: Visitor, request: HttpRequest, service: Path<String>) -> HttpResult<HttpResponse> {
    let mut parameters = Parameters::of(&request)?;
    let group = parameters.text("groupName");
    let (status, health) = (parameters.text("status"), parameters.text("health"));
    let (tags, metadata) = (parameters.list("tags"), parameters.prefixed("metadata."));
    let filter = Filter::new(&status, &health, tags, metadata)?;
    let wait = wait(&mut parameters);
    let ignored = parameters.finish()?;
    let found = visitor.directory.discover(&visitor, &group, &service, filter, wait).await?;
    let version = version(found.snapshot.revision);
    let response = if is_not_modified(&request, version)? {
        HttpResponse::NotModified().finish()
    } else {
        HttpResponse::Ok().content_type("application/json").body(found.body())
    };
    let mut response = with_version(response, version);
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("authorization, x-tenant-id"));
    Ok(ignoring(response, &ignored))
}

fn wait(parameters: &mut Parameters) -> Option<Wait> {
    let limit = parameters.duration("wait", USUAL_WAIT);
    if limit > LONGEST_WAIT {
        parameters.fault("wait", "out_of_range", "must be at most 10m");
    }
    let index = parameters.text("index");
    (!index.is_empty()).then_some(Wait { index, limit })
}
