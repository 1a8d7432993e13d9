//! W3C trace context (`traceparent`, `tracestate`): who called, across HTTP, gRPC and messages.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{
    Context,
    propagation::{Extractor, Injector, TextMapPropagator},
    trace::TraceContextExt,
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The header, and the message attribute, of that name.
pub const TRACEPARENT: &str = "traceparent";

/// The `traceparent` that a call made now is sent with. `None` outside of any span, and before telemetry was started.
pub fn current_traceparent() -> Option<String> {
    traceparent_of(&Span::current())
}

/// The `traceparent` of what is called from inside a span.
pub fn traceparent_of(span: &Span) -> Option<String> {
    let context = span.context();
    let span = context.span();
    let span = span.span_context();
    span.is_valid().then(|| {
        let flags = span.trace_flags().to_u8();
        format!("00-{}-{}-{flags:02x}", span.trace_id(), span.span_id())
    })
}

/// The trace that a span belongs to, 32 hexadecimal digits.
pub fn trace_id(span: &Span) -> Option<String> {
    let context = span.context();
    let span = context.span();
    let span = span.span_context();
    span.is_valid().then(|| span.trace_id().to_string())
}

/// Makes a new span, which was not entered yet, a child of the caller's. What is not a valid `traceparent` changes
/// nothing: the span then begins a trace of its own.
pub fn set_parent(span: &Span, traceparent: &str) {
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(traceparent) {
        headers.insert(TRACEPARENT, value);
        extract(span, &headers);
    }
}

/// Whether a text is a `traceparent` that a trace can go on from.
pub fn is_valid(traceparent: &str) -> bool {
    let mut headers = HeaderMap::new();
    let Ok(value) = HeaderValue::from_str(traceparent) else { return false };
    headers.insert(TRACEPARENT, value);
    context_of(&headers).is_some()
}

/// Makes a new span a child of the caller's, as its headers say. Headers of a gRPC call come with
/// `MetadataMap::as_ref`.
pub fn extract(span: &Span, headers: &HeaderMap) {
    if let Some(context) = context_of(headers) {
        // Fails when telemetry was not started or the span is disabled: then there is no trace to belong to.
        let _ = span.set_parent(context);
    }
}

fn context_of(headers: &HeaderMap) -> Option<Context> {
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(headers));
    let is_valid = context.span().span_context().is_valid();
    is_valid.then_some(context)
}

/// Puts the current span's context into the headers of a call. Leaves them alone when there is none.
pub fn inject(headers: &mut HeaderMap) {
    inject_span(&Span::current(), headers);
}

/// Puts a span's context into the headers of a call.
pub fn inject_span(span: &Span, headers: &mut HeaderMap) {
    TraceContextPropagator::new().inject_context(&span.context(), &mut HeadersMut(headers));
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct HeadersMut<'a>(&'a mut HeaderMap);

impl Injector for HeadersMut<'_> {
    fn set(&mut self, key: &str, value: String) {
        if value.is_empty() {
            return;
        }
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}
