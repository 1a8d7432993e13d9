//! Hears the bus for the whole gateway, and makes up for what the bus has lost.

use std::{sync::Arc, time::Duration};

use sker_bus::{Bus, Consumer, topology};
use sker_cache::RealtimeLog;
use sker_traffic::Backoff;
use tokio_util::sync::CancellationToken;

use super::{Hub, LiveEvent};
use crate::connected::Connected;

/// Channels that the log is asked about at a time.
const CHANNELS: usize = 500;

/// Hands every channel event to the hub until `stop` is cancelled. When the bus is away it comes back to it; what was missed
/// meanwhile is found in the log by [`look_for_missed`], which is told whether the bus is `heard`.
pub async fn listen(hub: Arc<Hub>, bus: Arc<dyn Bus>, heard: Connected, stop: CancellationToken) {
    let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
    let (mut failures, mut away) = (0, false);
    loop {
        let declared = bus.declare_exclusive(topology::WEBSOCKET_QUEUE_PREFIX, topology::REALTIME_FANOUT);
        match stop.run_until_cancelled(declared).await {
            None => return,
            Some(Ok(consumer)) => {
                (failures, away) = (0, false);
                heard.set(true);
                let ended = stop.run_until_cancelled(hand_on(&hub, consumer)).await;
                heard.set(false);
                if ended.is_none() {
                    return;
                }
            }
            Some(Err(error)) => {
                if !std::mem::replace(&mut away, true) {
                    tracing::warn!(error = %error, "the bus is away; live events come from the log until it is back");
                }
            }
        }
        let wait = backoff.delay(failures);
        failures = failures.saturating_add(1);
        if stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
            return;
        }
    }
}

async fn hand_on(hub: &Hub, mut consumer: Consumer) {
    while let Some(delivery) = consumer.recv().await {
        match LiveEvent::read(&delivery.message.body) {
            Ok(event) => hub.publish(event),
            Err(error) => tracing::warn!(error = %error, "a message that is no channel event was dropped"),
        }
        // One that is not acknowledged comes again and is then known.
        if let Err(error) = delivery.ack().await {
            tracing::debug!(error = %error, "a channel event could not be acknowledged");
        }
    }
}

/// How often the log is looked into.
#[derive(Clone, Copy, Debug)]
pub struct LookEvery {
    /// While the bus is away, or something could not be read.
    pub usual: Duration,
    /// While the bus is heard: then nothing should be missing.
    pub calm: Duration,
}

/// Looks from time to time whether the log of a channel that somebody listens to has more than was heard, so that even a lost
/// message after which nothing follows reaches its readers; at once when the bus has come back.
pub async fn look_for_missed(
    hub: Arc<Hub>,
    log: Arc<dyn RealtimeLog>,
    heard: Connected,
    every: LookEvery,
    stop: CancellationToken,
) {
    let mut changes = heard.subscribe();
    let (mut away, mut owing) = (false, false);
    loop {
        let calm = *changes.borrow_and_update() && !away && !owing;
        let pause = if calm { every.calm } else { every.usual };
        // Less up to half of it, so that gateways that started together do not look together.
        let pause = Backoff::new(pause, pause).delay(0);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
            // The sender lives in `heard`, so this is a change.
            _ = changes.changed() => {}
            // What could not be read a moment ago is not asked for again at once.
            () = hub.owing(), if !owing => {
                owing = true;
                continue;
            }
        }
        owing = false;
        match stop.run_until_cancelled(look(&hub, &*log)).await {
            None => return,
            Some(Ok(())) => away = false,
            Some(Err(error)) => {
                if !std::mem::replace(&mut away, true) {
                    tracing::warn!(error = %error, "the realtime log is away; what is missing waits for it");
                }
            }
        }
    }
}

async fn look(hub: &Hub, log: &dyn RealtimeLog) -> sker_error::Result<()> {
    let (names, known): (Vec<String>, Vec<u64>) = hub.channels().into_iter().unzip();
    for (names, known) in names.chunks(CHANNELS).zip(known.chunks(CHANNELS)) {
        let latest = log.latest_many(names).await?;
        for ((name, known), latest) in names.iter().zip(known).zip(latest) {
            if latest > *known {
                hub.note(name, latest);
                hub.suggest_look(name);
            }
        }
    }
    Ok(())
}
