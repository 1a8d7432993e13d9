use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder, core::Collector,
};

/// Upper bounds of latencies in seconds, from half a millisecond to half a minute.
const LATENCY_BUCKETS: [f64; 15] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The metrics of one service. Asking twice for a metric gives the same one. Clones share.
///
/// The methods that make metrics panic when a name or a label is not valid in Prometheus or when a name is used for two
/// kinds of metric; both are literals of the program.
#[derive(Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

struct Inner {
    service: String,
    registry: Registry,
    // Taken only while metrics are made, never while they are counted.
    made: Mutex<HashMap<String, Made>>,
}

#[derive(Clone)]
enum Made {
    Counter(IntCounterVec),
    Gauge(IntGaugeVec),
    Histogram(HistogramVec),
}

impl Metrics {
    /// Metrics that all carry the label `service`.
    pub fn new(service: &str) -> Self {
        let labels = HashMap::from([("service".to_owned(), service.to_owned())]);
        let registry = Registry::new_custom(None, Some(labels)).expect("a registry without a prefix is always valid");
        Metrics { inner: Arc::new(Inner { service: service.to_owned(), registry, made: Mutex::default() }) }
    }

    /// The service's name.
    pub fn service(&self) -> &str {
        &self.inner.service
    }

    /// For collectors of one's own.
    pub fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    /// All metrics in the Prometheus text format, version 0.0.4.
    pub fn encode(&self) -> String {
        let mut output = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.inner.registry.gather(), &mut output) {
            tracing::error!(error = %error, "metrics cannot be written");
        }
        String::from_utf8(output).unwrap_or_default()
    }

    /// A counter.
    pub fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.counter_vec(name, help, &[]).with_label_values::<&str>(&[])
    }

    /// Counters by labels.
    pub fn counter_vec(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        let made = self.make(name, || {
            let counter = IntCounterVec::new(Opts::new(name, help), labels).expect(VALID);
            (Made::Counter(counter.clone()), Box::new(counter))
        });
        let Made::Counter(counter) = made else { panic!("the metric {name} is not a counter") };
        counter
    }

    /// A gauge of whole numbers.
    pub fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.gauge_vec(name, help, &[]).with_label_values::<&str>(&[])
    }

    /// Gauges of whole numbers by labels.
    pub fn gauge_vec(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        let made = self.make(name, || {
            let gauge = IntGaugeVec::new(Opts::new(name, help), labels).expect(VALID);
            (Made::Gauge(gauge.clone()), Box::new(gauge))
        });
        let Made::Gauge(gauge) = made else { panic!("the metric {name} is not a gauge of whole numbers") };
        gauge
    }

    /// A histogram of seconds.
    pub fn histogram(&self, name: &str, help: &str) -> Histogram {
        self.histogram_vec(name, help, &[]).with_label_values::<&str>(&[])
    }

    /// Histograms of seconds by labels.
    pub fn histogram_vec(&self, name: &str, help: &str, labels: &[&str]) -> HistogramVec {
        let made = self.make(name, || {
            let options = HistogramOpts::new(name, help).buckets(LATENCY_BUCKETS.to_vec());
            let histogram = HistogramVec::new(options, labels).expect(VALID);
            (Made::Histogram(histogram.clone()), Box::new(histogram))
        });
        let Made::Histogram(histogram) = made else { panic!("the metric {name} is not a histogram") };
        histogram
    }

    fn make(&self, name: &str, new: impl FnOnce() -> (Made, Box<dyn Collector>)) -> Made {
        let mut made = self.inner.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = made.get(name) {
            return made.clone();
        }
        let (new, collector) = new();
        self.inner.registry.register(collector).expect(VALID);
        made.insert(name.to_owned(), new.clone());
        new
    }
}

const VALID: &str = "names and labels of metrics are literals of the program, and valid";

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Metrics").field("service", &self.inner.service).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_every_metric_with_its_service() {
        let metrics = Metrics::new("store");
        metrics.counter_vec("http_requests_total", "Requests.", &["status"]).with_label_values(&["200"]).inc_by(3);
        metrics.gauge("tasks_running", "Tasks.").set(2);
        metrics.histogram("http_request_seconds", "Latency.").observe(0.003);
        let text = metrics.encode();
        for line in [
            "# HELP http_requests_total Requests.",
            "# TYPE http_requests_total counter",
            r#"http_requests_total{status="200",service="store"} 3"#,
            r#"tasks_running{service="store"} 2"#,
            r#"http_request_seconds_bucket{service="store",le="0.0025"} 0"#,
            r#"http_request_seconds_bucket{service="store",le="0.005"} 1"#,
            r#"http_request_seconds_count{service="store"} 1"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn a_metric_that_is_asked_for_twice_is_one_metric() {
        let metrics = Metrics::new("store");
        metrics.counter("jobs_total", "Jobs.").inc();
        metrics.clone().counter("jobs_total", "Jobs.").inc();
        assert!(metrics.encode().contains(r#"jobs_total{service="store"} 2"#));
    }

    #[test]
    fn two_services_of_a_process_do_not_share_metrics() {
        let (store, broker) = (Metrics::new("store"), Metrics::new("broker"));
        store.counter("jobs_total", "Jobs.").inc();
        assert!(!broker.encode().contains("jobs_total"));
    }
}
