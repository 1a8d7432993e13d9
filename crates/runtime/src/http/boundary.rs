use std::{panic::AssertUnwindSafe, sync::Arc, time::Instant};

use actix_web::{
    HttpMessage, HttpRequest,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        ConnectionType, StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    middleware::Next,
    web::Data,
};
use futures::FutureExt;
use sker_error::Error;
use sker_telemetry::trace;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, field::Empty};

use super::{
    failure::{self, Failure},
    measure::HttpMetrics,
    streams,
};
use crate::{
    Standard,
    request_id::{is_traceparent, request_id},
    tasks::panic_message,
};

/// What the boundary knows of a request; [`RequestInfo::of`] gives it to whoever handles the request.
#[derive(Clone, Debug)]
pub struct RequestInfo {
    /// Names the request in logs and errors.
    pub request_id: Arc<str>,
    /// The caller's place in the trace, when it sent a well-formed one.
    pub traceparent: Option<Arc<str>>,
}

impl RequestInfo {
    /// Of this request.
    pub fn of(request: &HttpRequest) -> Self {
        let known = request.extensions().get::<RequestInfo>().cloned();
        // Outside of the boundary, in a test of one handler.
        known.unwrap_or_else(|| RequestInfo::read(request.headers()))
    }

    fn read(headers: &HeaderMap) -> Self {
        let request_id = request_id(headers.get(crate::REQUEST_ID).map(HeaderValue::as_bytes));
        let traceparent = headers.get("traceparent").and_then(|value| value.to_str().ok());
        let traceparent = traceparent.filter(|value| is_traceparent(value));
        RequestInfo { request_id: request_id.into(), traceparent: traceparent.map(Into::into) }
    }
}

/// Around every request, once: its id, its span, its metrics, its log line, and problem+json for whatever fails.
pub(super) async fn boundary(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let began = Instant::now();
    let info = RequestInfo::read(request.headers());
    let exchange = Exchange {
        began,
        metrics: request.app_data::<Data<HttpMetrics>>().cloned(),
        draining: request.app_data::<Data<Standard>>().map(|standard| standard.health.draining()),
        method: request.method().to_string(),
        path: request.path().to_owned(),
        request_id: Arc::clone(&info.request_id),
    };
    let span = span_of(&exchange, &info, request.match_pattern());
    request.extensions_mut().insert(info);
    let handled = AssertUnwindSafe(next.call(request).instrument(span.clone())).catch_unwind().await;
    span.in_scope(|| match handled {
        Ok(Ok(response)) => Ok(exchange.finish(response.map_into_boxed_body(), &span)),
        Ok(Err(error)) => Err(exchange.fail(Error::internal(error.to_string()), &span)),
        Err(panic) => {
            let cause = format!("the handler panicked: {}", panic_message(&*panic));
            Err(exchange.fail(Error::internal(cause), &span))
        }
    })
}

/// The name is given at once: one that is recorded when the trace has been passed on would not be exported.
fn span_of(exchange: &Exchange, info: &RequestInfo, route: Option<String>) -> Span {
    let route = route.as_deref().unwrap_or("unmatched");
    let span = tracing::info_span!(
        "http.request",
        otel.kind = "server",
        otel.name = format!("{} {route}", exchange.method),
        http.request.method = exchange.method,
        url.path = exchange.path,
        http.route = Empty,
        http.response.status_code = Empty,
        request_id = %info.request_id,
    );
    if let Some(traceparent) = &info.traceparent {
        trace::set_parent(&span, traceparent);
    }
    span
}

/// One request on its way out.
struct Exchange {
    began: Instant,
    metrics: Option<Data<HttpMetrics>>,
    draining: Option<CancellationToken>,
    method: String,
    path: String,
    request_id: Arc<str>,
}

impl Exchange {
    fn finish(&self, response: ServiceResponse<BoxBody>, span: &Span) -> ServiceResponse<BoxBody> {
        let mut response = failure::render(response, &self.request_id);
        let route = response.request().match_pattern();
        self.conclude(route.as_deref(), response.status(), span);
        let headers = response.headers_mut();
        if let Ok(id) = HeaderValue::from_str(&self.request_id) {
            headers.insert(HeaderName::from_static(crate::REQUEST_ID), id);
        }
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        let Some(draining) = &self.draining else { return response };
        if draining.is_cancelled() {
            // The client must not send its next request on a connection that is about to be closed.
            response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
        }
        if streams::is_event_stream(&response) {
            return response.map_body(|_, body| BoxBody::new(streams::UntilDraining::new(body, draining.clone())));
        }
        response
    }

    fn fail(&self, error: Error, span: &Span) -> actix_web::Error {
        self.conclude(None, StatusCode::INTERNAL_SERVER_ERROR, span);
        Failure::new(error, self.path.clone(), self.request_id.to_string()).into()
    }

    /// Measures and logs. The query string is in neither: it may hold a token.
    fn conclude(&self, route: Option<&str>, status: StatusCode, span: &Span) {
        let elapsed = self.began.elapsed();
        let route = route.unwrap_or("unmatched");
        if let Some(metrics) = &self.metrics {
            metrics.observe(&self.method, route, status.as_u16(), elapsed);
        }
        span.record("http.route", route);
        span.record("http.response.status_code", status.as_u16());
        let (status, duration_ms) = (status.as_u16(), elapsed.as_secs_f64() * 1_000.0);
        let (method, path) = (&self.method, &self.path);
        if status < 300 && matches!(path.as_str(), "/health" | "/ready" | "/metrics") {
            tracing::debug!(http.status = status, duration_ms, "{method} {path} {status}");
        } else {
            tracing::info!(http.status = status, duration_ms, "{method} {path} {status}");
        }
    }
}
