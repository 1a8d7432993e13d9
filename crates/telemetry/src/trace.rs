//! The W3C trace context (`traceparent`): who called, across HTTP, gRPC and messages.

use opentelemetry::{
    Context,
    propagation::{Extractor, TextMapPropagator},
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

/// Makes a new span, which was not entered yet, a child of the caller's. What is not a valid `traceparent` changes
/// nothing: the span then begins a trace of its own.
pub fn set_parent(span: &Span, traceparent: &str) {
    if let Some(context) = context_of(traceparent) {
        // Fails when telemetry was not started or the span is disabled: then there is no trace to belong to.
        let _ = span.set_parent(context);
    }
}

/// Whether a text is a `traceparent` that a trace can go on from.
pub fn is_valid(traceparent: &str) -> bool {
    context_of(traceparent).is_some()
}

fn context_of(traceparent: &str) -> Option<Context> {
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &Carrier(traceparent));
    let is_valid = context.span().span_context().is_valid();
    is_valid.then_some(context)
}

/// A carrier of nothing but a `traceparent`.
struct Carrier<'a>(&'a str);

impl Extractor for Carrier<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == TRACEPARENT).then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT]
    }
}
