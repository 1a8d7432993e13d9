use prometheus::{HistogramVec, IntCounterVec, IntGauge};
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
            tokens: metrics.counter_vec("broker_tokens_total", "Tokens read and written", &["engine", "direction"]),
        }
    }
}
