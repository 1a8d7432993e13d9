use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use serde_json::json;
use sker_error::{Code, Error, Problem};
use sker_telemetry::Metrics;

use crate::health::{Health, HealthStatus};

/// The interactive page and its assets may load nothing from elsewhere.
const DOCS_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:";

/// Where the interactive page stands.
const DOCS: [&str; 2] = ["/docs", "/api/docs"];

/// What every service answers: `/health`, `/ready`, `/metrics`, `/openapi.json`, and the interactive API page at `/docs` and
/// `/api/docs`. It knows no web framework: the actix services and the gateway on hyper mount the same.
#[derive(Clone, Debug)]
pub struct Standard {
    /// The service's name.
    pub service: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Its health.
    pub health: Arc<Health>,
    /// Its metrics.
    pub metrics: Metrics,
    /// Its OpenAPI document, as JSON text.
    pub openapi: Arc<str>,
}

impl Standard {
    /// The paths that [`Standard::answer`] serves, as route patterns; what follows `/docs/` is a file name.
    pub const ROUTES: [&str; 8] = [
        "/health",
        "/ready",
        "/metrics",
        "/openapi.json",
        "/docs",
        "/docs/{file:.*}",
        "/api/docs",
        "/api/docs/{file:.*}",
    ];

    /// The answer, when the path is one of these. Other methods than GET and HEAD are answered with 405.
    pub fn answer(&self, method: &Method, path: &str) -> Option<Response<Bytes>> {
        let find = match path {
            "/health" => Self::health,
            "/ready" => Self::readiness,
            "/metrics" => Self::metrics,
            "/openapi.json" => Self::openapi,
            _ => return docs(path).map(|file| if is_read(method) { file } else { not_allowed(path) }),
        };
        Some(if is_read(method) { find(self) } else { not_allowed(path) })
    }

    fn health(&self) -> Response<Bytes> {
        let report = self.health.report();
        let unwell = report.status == HealthStatus::Unhealthy;
        json_response(if unwell { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }, &report)
    }

    fn readiness(&self) -> Response<Bytes> {
        if self.health.ready() {
            return json_response(StatusCode::OK, &json!({"ready": true, "service": self.service}));
        }
        let waiting_for = self.health.obstacles();
        let body = json!({"ready": false, "service": self.service, "waiting_for": waiting_for});
        let mut response = json_response(StatusCode::SERVICE_UNAVAILABLE, &body);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        response
    }

    fn metrics(&self) -> Response<Bytes> {
        respond(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", self.metrics.encode().into())
    }

    fn openapi(&self) -> Response<Bytes> {
        respond(StatusCode::OK, "application/json", Bytes::copy_from_slice(self.openapi.as_bytes()))
    }
}

/// An OpenAPI document as the text that [`Standard`] serves.
pub fn openapi_json(document: &utoipa::openapi::OpenApi) -> Arc<str> {
    document.to_json().unwrap_or_else(|_| "{}".to_owned()).into()
}

fn is_read(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

fn not_allowed(path: &str) -> Response<Bytes> {
    let error = Error::new(Code::MethodNotAllowed, "only GET is served here");
    // The boundary that mounts this adds the request id.
    let mut response = json_response(StatusCode::METHOD_NOT_ALLOWED, &error.to_problem(path, ""));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(Problem::MEDIA_TYPE));
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

fn docs(path: &str) -> Option<Response<Bytes>> {
    let rest = DOCS.into_iter().find_map(|root| path.strip_prefix(root))?;
    let file = match rest {
        "" | "/" => "index.html",
        _ => rest.strip_prefix('/')?,
    };
    let config = utoipa_swagger_ui::Config::from("/openapi.json").validator_url("none");
    // The only error is an initializer that is not text; it is compiled in.
    let found = utoipa_swagger_ui::serve(file, Arc::new(config)).ok().flatten()?;
    let body = if rest.is_empty() {
        // Without a slash at the end the page's relative links would miss its folder.
        String::from_utf8_lossy(&found.bytes).replacen("<head>", "<head><base href=\"docs/\">", 1).into_bytes()
    } else {
        found.bytes.into_owned()
    };
    let mut response = respond(StatusCode::OK, &found.content_type, body.into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(DOCS_POLICY));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    Some(response)
}

fn json_response(status: StatusCode, body: &impl serde::Serialize) -> Response<Bytes> {
    // These are plain structs with string keys, which always serialise.
    respond(status, "application/json", serde_json::to_vec(body).unwrap_or_default().into())
}

fn respond(status: StatusCode, content_type: &str, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let content_type = HeaderValue::from_str(content_type);
    let content_type = content_type.unwrap_or(HeaderValue::from_static("application/octet-stream"));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
