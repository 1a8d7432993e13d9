use std::error::Error as StdError;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use sker_config::redact_text;
use sker_error::{Code, Error, Problem};

/// The answer to a failed request (RFC 9457). Of a 5xx it says no more than the error's public message.
pub fn problem_response(error: &Error, instance: &str, request_id: &str) -> Response<Bytes> {
    // A problem is a struct of strings, which always serialises.
    let body = serde_json::to_vec(&error.to_problem(instance, request_id)).unwrap_or_default();
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() =
        StatusCode::from_u16(error.code().http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *response.headers_mut() = problem_headers(error);
    response
}

pub(crate) fn problem_headers(error: &Error) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(Problem::MEDIA_TYPE));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if error.code() == Code::Unauthenticated {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"sker\""));
    }
    if let Some(wait_ms) = error.retry_after_ms() {
        // Whole seconds, never too early.
        headers.insert(header::RETRY_AFTER, HeaderValue::from(wait_ms.div_ceil(1_000).max(1)));
    }
    headers
}

/// Logs a failed request, once, at the boundary: a fault of our own as an error with its cause, a dependency that is away as
/// a warning, what the caller did wrong only for those who look for it.
pub fn log_failure(error: &Error) {
    let status = error.code().http_status();
    if status < 500 {
        tracing::debug!(error.code = error.code().as_str(), "request refused: {}", error.message());
        return;
    }
    let cause = causes(error);
    if error.code() == Code::Internal {
        tracing::error!(error.code = error.code().as_str(), error.cause = cause, "request failed: {}", error.message());
    } else {
        tracing::warn!(error.code = error.code().as_str(), error.cause = cause, "request failed: {}", error.message());
    }
}

/// The chain of causes, without passwords in URLs.
fn causes(error: &Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        texts.push(cause.to_string());
        next = cause.source();
    }
    redact_text(&texts.join(": "))
}
