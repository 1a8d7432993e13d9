//! Hears the bus for the whole gateway, and makes up for what the bus has lost.

use std::{sync::Arc, time::Duration};

use sker_bus::{Bus, topology};
use sker_cache::RealtimeLog;
use sker_traffic::Backoff;
use tokio_util::sync::CancellationToken;

use super::{Hub, LiveEvent};

/// Hands every channel event to the hub until `stop` is cancelled. When the bus is away it comes back to it; what was missed
/// meanwhile is found in the log.
pub async fn listen(hub: Arc<Hub>, bus: Arc<dyn Bus>, stop: CancellationToken) {
    let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    let mut failures = 0;
    loop {
        let declared = bus.declare_exclusive(topology::WEBSOCKET_QUEUE_PREFIX, topology::REALTIME_FANOUT);
        match stop.run_until_cancelled(declared).await {
            None => return,
            Some(Ok(mut consumer)) => {
                failures = 0;
                for (channel, _) in hub.channels() {
                    hub.suggest_look(&channel);
                }
                loop {
                    match stop.run_until_cancelled(consumer.recv()).await {
                        None => return,
                        Some(None) => break,
                        Some(Some(delivery)) => {
                            match LiveEvent::read(&delivery.message.body) {
                                Ok(event) => hub.publish(event),
                                Err(error) => {
                                    tracing::warn!(error = %error, "a message that is no channel event was dropped");
                                }
                            }
                            // One that is not acknowledged comes again and is then known.
                            if let Err(error) = delivery.ack().await {
                                tracing::debug!(error = %error, "a channel event could not be acknowledged");
                            }
                        }
                    }
                }
            }
            Some(Err(error)) if failures == 0 => {
                tracing::warn!(error = %error, "the bus is away; live events come from the log until it is back");
            }
            Some(Err(_)) => {}
        }
        let wait = backoff.delay(failures);
        failures = failures.saturating_add(1);
        if stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
            return;
        }
    }
}

/// Looks from time to time whether the log of a channel that somebody listens to has more than was heard, so that even a lost
/// message after which nothing follows reaches its readers.
pub async fn look_for_missed(hub: Arc<Hub>, log: Arc<dyn RealtimeLog>, every: Duration, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(every)).await.is_some() {
        for (channel, last) in hub.channels() {
            match stop.run_until_cancelled(log.latest(&channel)).await {
                None => return,
                Some(Ok(latest)) if latest > last => {
                    hub.note(&channel, latest);
                    hub.suggest_look(&channel);
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    tracing::warn!(error = %error, "the realtime log is away");
                    break;
                }
            }
        }
    }
}
