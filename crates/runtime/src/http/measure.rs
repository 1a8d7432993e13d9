use std::time::Duration;

use sker_telemetry::{
    Metrics,
    prometheus::{HistogramVec, IntCounterVec},
};

/// Requests by method, route pattern and status. The raw path is no label: there are as many of those as there are ids.
pub(super) struct HttpMetrics {
    requests: IntCounterVec,
    seconds: HistogramVec,
}

impl HttpMetrics {
    pub(super) fn new(metrics: &Metrics) -> Self {
        HttpMetrics {
            requests: metrics.counter_vec(
                "http_requests_total",
                "Requests answered, by method, route and status.",
                &["method", "route", "status"],
            ),
            seconds: metrics.histogram_vec(
                "http_request_duration_seconds",
                "Time from a request's head to the head of its answer, by method and route.",
                &["method", "route"],
            ),
        }
    }

    pub(super) fn observe(&self, method: &str, route: &str, status: u16, elapsed: Duration) {
        let method = known_method(method);
        self.requests.with_label_values(&[method, route, &status.to_string()]).inc();
        self.seconds.with_label_values(&[method, route]).observe(elapsed.as_secs_f64());
    }
}

/// A client may make up methods; a label may not.
fn known_method(method: &str) -> &'static str {
    const KNOWN: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];
    KNOWN.into_iter().find(|known| *known == method).unwrap_or("OTHER")
}
