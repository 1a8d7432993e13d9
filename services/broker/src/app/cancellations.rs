use std::{sync::Arc, time::Duration};

use sker_bus::{Bus, Consumer, Message, topology::EVENTS_TOPIC};
use sker_traffic::Backoff;
use sker_types::{DomainEvent, event_type};
use tokio_util::sync::CancellationToken;

use super::running::RunningTasks;

/// How names of the brokers' exclusive queues begin.
const QUEUE_PREFIX: &str = "events.broker.";

/// Failures to listen before somebody is told.
const WARN_AFTER: u32 = 3;
/// How long an acknowledgement may take before the queue is given up for a new one.
const SETTLE_DEADLINE: Duration = Duration::from_secs(2);

/// Listens for `ai_task.cancelled` on a queue of this broker's own, and stops those tasks that run here. What is missed
/// while the bus is away, the answers to lease renewals tell.
pub async fn listen_for_cancellations(bus: Arc<dyn Bus>, running: Arc<RunningTasks>, stop: CancellationToken) {
    let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    let mut failures = 0;
    while !stop.is_cancelled() {
        match bus.declare_exclusive(QUEUE_PREFIX, EVENTS_TOPIC).await {
            Ok(consumer) => {
                failures = 0;
                if stop.run_until_cancelled(listen(consumer, &running)).await.is_none() {
                    return;
                }
            }
            // Not at once: at the start the bus may still be connecting.
            Err(error) if failures == WARN_AFTER => {
                tracing::warn!(error = %error, "cancellations cannot be heard, trying on");
            }
            Err(_) => {}
        }
        if stop.run_until_cancelled(tokio::time::sleep(backoff.delay(failures))).await.is_none() {
            return;
        }
        failures = failures.saturating_add(1);
    }
}

async fn listen(mut consumer: Consumer, running: &RunningTasks) {
    while let Some(delivery) = consumer.recv().await {
        // The queue has every event: what is not a cancellation costs no more than this look.
        if delivery.message.kind == event_type::TASK_CANCELLED {
            cancel(&delivery.message, running);
        }
        if !matches!(tokio::time::timeout(SETTLE_DEADLINE, delivery.ack()).await, Ok(Ok(()))) {
            return;
        }
    }
}

fn cancel(message: &Message, running: &RunningTasks) {
    match message.parse::<DomainEvent>() {
        Ok(event) => running.cancel(event.aggregate_id),
        Err(error) => tracing::warn!(message.id = %message.id, error = %error, "a cancellation cannot be read"),
    }
}
