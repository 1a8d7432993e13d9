use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{HeaderName, HeaderValue},
};
use sker_runtime::http::{HttpResult, answer};

const IGNORED: HeaderName = HeaderName::from_static("x-ignored-fields");
/// More of the ignored names than that help nobody.
const LONGEST_LIST: usize = 1_000;

/// Names what of the request means nothing here. A client that misspells a field finds it there.
pub fn ignoring(mut response: HttpResponse, ignored: &[String]) -> HttpResponse {
    if ignored.is_empty() {
        return response;
    }
    let visible =
        |name: &String| name.chars().map(|c| if c.is_ascii_graphic() && c != ',' { c } else { '?' }).collect();
    let mut list = ignored.iter().map(visible).collect::<Vec<String>>().join(", ");
    list.truncate(LONGEST_LIST);
    if let Ok(value) = HeaderValue::from_str(&list) {
        response.headers_mut().insert(IGNORED, value);
    }
    response
}

/// A resource with its revision as ETag, or 304.
pub fn at_revision(request: &HttpRequest, revision: u64, body: &impl serde::Serialize) -> HttpResult<HttpResponse> {
    Ok(answer::resource(request, version(revision), body)?)
}

/// Revisions are microseconds and a count, so they fit.
pub fn version(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}
