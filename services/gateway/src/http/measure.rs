//! Counts and times of requests. A thread looks a metric up once per route, method and status and then has it at hand: the
//! registry's own lookup takes a lock that all threads share.

use std::{cell::RefCell, collections::HashMap, time::Duration};

use sker_telemetry::{
    Metrics,
    prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec},
};

/// The metrics of requests, shared by all threads.
#[derive(Clone, Debug)]
pub struct HttpMetrics {
    requests: IntCounterVec,
    duration: HistogramVec,
}

impl HttpMetrics {
    /// Under the names that every service of the platform uses.
    pub fn new(metrics: &Metrics) -> Self {
        HttpMetrics {
            requests: metrics.counter_vec("http_requests_total", "Requests answered.", &["method", "route", "status"]),
            duration: metrics.histogram_vec(
                "http_request_duration_seconds",
                "Time until an answer begins.",
                &["method", "route"],
            ),
        }
    }
}

#[derive(Debug)]
struct Known {
    method: &'static str,
    status: u16,
    count: IntCounter,
    duration: Histogram,
}

/// One thread's view of them.
#[derive(Debug)]
pub struct LocalMetrics {
    shared: HttpMetrics,
    known: RefCell<HashMap<String, Vec<Known>>>,
}

impl LocalMetrics {
    /// A view of these.
    pub fn new(shared: HttpMetrics) -> Self {
        LocalMetrics { shared, known: RefCell::default() }
    }

    /// Counts an answer. `route` is a pattern, not a path: there are few of them.
    pub fn observe(&self, method: &http::Method, route: &str, status: u16, duration: Duration) {
        let method = label(method);
        let mut known = self.known.borrow_mut();
        if !known.contains_key(route) {
            known.insert(route.to_owned(), Vec::new());
        }
        let Some(list) = known.get_mut(route) else { return };
        let at = list.iter().position(|one| one.method == method && one.status == status).unwrap_or_else(|| {
            let status_text = status.to_string();
            list.push(Known {
                method,
                status,
                count: self.shared.requests.with_label_values(&[method, route, &status_text]),
                duration: self.shared.duration.with_label_values(&[method, route]),
            });
            list.len() - 1
        });
        list[at].count.inc();
        list[at].duration.observe(duration.as_secs_f64());
    }
}

/// Methods that somebody invents must not make metrics without end.
fn label(method: &http::Method) -> &'static str {
    match *method {
        http::Method::GET => "GET",
        http::Method::HEAD => "HEAD",
        http::Method::POST => "POST",
        http::Method::PUT => "PUT",
        http::Method::PATCH => "PATCH",
        http::Method::DELETE => "DELETE",
        http::Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
