//! One window of messages: published one after the other, confirmed in any order.

use std::{borrow::Borrow, collections::HashSet};

use futures::future::join_all;
use lapin::{Channel, PublisherConfirm, options::BasicPublishOptions};

use super::envelope::{self, Outgoing};
use crate::topology::Exchange;

/// What RabbitMQ did not take of a window, by index.
#[derive(Default)]
pub(super) struct Refused {
    /// No queue is bound to the key.
    pub(super) unrouted: Vec<usize>,
    /// A queue is full.
    pub(super) full: Vec<usize>,
}

/// Frames of that many messages are handed to the connection before waiting until they are written. With at most 30,
/// `join_all` polls in order, and the first poll is what puts a message in line.
const WRITTEN_AT_ONCE: usize = 30;

/// Publishes a window and waits until all of it is settled.
pub(super) async fn publish<M: Borrow<Outgoing>>(
    channel: &Channel,
    exchange: &Exchange,
    window: &[M],
) -> lapin::Result<Refused> {
    let options = BasicPublishOptions { mandatory: exchange.mandatory, immediate: false };
    let mut confirms = Vec::with_capacity(window.len());
    for some in window.chunks(WRITTEN_AT_ONCE) {
        let published = join_all(some.iter().map(|message| {
            let Outgoing { key, properties, body, .. } = message.borrow();
            channel.basic_publish(exchange.name.into(), key.clone(), options, body, properties.clone())
        }));
        for result in published.await {
            match result {
                Ok(confirm) => confirms.push(confirm),
                Err(error) => return Err(cause(confirms).await.unwrap_or(error)),
            }
        }
    }
    let mut refused = Refused::default();
    let mut returned = HashSet::new();
    for (index, confirm) in join_all(confirms).await.into_iter().enumerate() {
        let confirm = confirm?;
        if confirm.is_nack() {
            refused.full.push(index);
        }
        if let Some(message) = confirm.take_message().map(|message| message.delivery) {
            returned.extend(envelope::id(&message.properties).map(|id| (id, message.routing_key)));
        }
    }
    // Only now, as the confirm that a returned message came with may have been any of them.
    for (index, message) in window.iter().enumerate() {
        let Outgoing { id, key, .. } = message.borrow();
        if returned.contains(&(*id, key.clone())) {
            refused.unrouted.push(index);
        }
    }
    Ok(refused)
}

/// Why a channel ended is what its confirms end with. Who publishes after that only hears that it has.
async fn cause(confirms: Vec<PublisherConfirm>) -> Option<lapin::Error> {
    join_all(confirms).await.into_iter().filter_map(Result::err).find(lapin::Error::is_amqp_soft_error)
}
