use prometheus::{HistogramVec, IntCounter, IntCounterVec, IntGauge};
use sker_telemetry::Metrics;

/// The broker's own metrics.
#[derive(Clone)]
pub struct BrokerMetrics {
    /// Attempts by type, engine and outcome.
    pub attempts: IntCounterVec,
    /// How long they took.
    pub duration: HistogramVec,
    /// Tasks that are running.
    pub running: IntGauge,
    /// Messages that could not be read.
    pub malformed: IntCounterVec,
    /// Tokens by engine and direction.
    pub tokens: IntCounterVec,
    /// Messages taken from the work queues.
    pub deliveries: IntCounter,
    /// Tasks claimed, by message or not.
    pub claims: IntCounter,
    /// Tasks claimed without a message.
    pub stolen: IntCounter,
    /// Claims that were running here already when the store answered them again.
    pub repeated_claims: IntCounter,
    /// Messages that could not be acknowledged or rejected.
    pub settle_failures: IntCounter,
    /// Progress and pieces of text that did not reach whoever watches.
    pub dropped_reports: IntCounterVec,
}

impl BrokerMetrics {
    /// Registers them.
    pub fn new(metrics: &Metrics) -> Self {
        BrokerMetrics {
            attempts: metrics.counter_vec(
                "broker_attempts_total",
                "Attempts at AI tasks",
                &["type", "engine", "outcome"],
            ),
            duration: metrics.histogram_vec(
                "broker_attempt_seconds",
                "Time from the claim of an AI task to its end",
                &["type", "engine"],
            ),
            running: metrics.gauge("broker_running_tasks", "AI tasks that are running"),
            malformed: metrics.counter_vec(
                "broker_malformed_messages_total",
                "Messages that cannot be read",
                &["queue"],
            ),
            deliveries: metrics.counter("broker_deliveries_total", "Messages taken from the work queues"),
            claims: metrics.counter("broker_claims_total", "AI tasks claimed"),
            stolen: metrics.counter("broker_stolen_tasks_total", "AI tasks claimed without a message"),
            repeated_claims: metrics
                .counter("broker_repeated_claims_total", "Claims answered again while they were running already"),
            settle_failures: metrics
                .counter("broker_settle_failures_total", "Messages that could not be acknowledged or rejected"),
            dropped_reports: metrics.counter_vec(
                "broker_dropped_reports_total",
                "Progress and streamed text that did not reach whoever watches",
                &["kind"],
            ),
            tokens: metrics.counter_vec("broker_tokens_total", "Tokens read and written", &["engine", "direction"]),
        }
    }
}
