//! Messages between services.
//!
//! A [`Bus`] carries [`Message`]s from exchanges to queues as AMQP 0-9-1 does, with the exchanges, queues and bindings of
//! [`topology`]. [`memory::MemoryBus`] is one inside this process, [`AmqpBus`] is RabbitMQ. Services see only the trait.
//!
//! The bus promises wake-ups, not durability: the database row is the truth, and whoever wrote it sends the message again
//! when nothing comes of it. Deliveries are at least once and in no promised order.

mod amqp;
pub mod contract;
mod delivery;
pub mod memory;
mod message;
pub mod topology;

pub use amqp::{AmqpBus, AmqpConfig};
use async_trait::async_trait;
pub use delivery::{Consumer, Delivery, Outcome, Settle};
pub use memory::MemoryBus;
pub use message::Message;
use sker_error::Result;
use sker_types::Uuid;

/// A message broker. Every implementation passes [`contract`].
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Publishes messages on an exchange and waits until the broker has taken them. Answers the ids it did not take: no queue
    /// is bound to their key, or a queue is full. Publish those again later, with the same ids.
    ///
    /// Exchanges whose messages are meant for whoever listens ([`topology::Exchange::mandatory`] is false) take messages
    /// that reach nobody.
    ///
    /// # Errors
    /// No message is known to be taken, though some may be: publish all again, with the same ids.
    async fn publish(&self, exchange: &str, messages: Vec<Message>) -> Result<Vec<Uuid>>;

    /// Takes messages from a queue of the topology, at most `prefetch` unsettled ones at a time. The stream ends when
    /// the connection or the queue is gone: call again.
    async fn consume(&self, queue: &str, prefetch: u16) -> Result<Consumer>;

    /// Makes a queue for this consumer alone, named `queue_prefix` and something unique, and binds it to everything on
    /// an exchange. It goes when the consumer is dropped. When the consumer is too slow, the oldest messages are lost; none is
    /// delivered twice, however it is settled.
    async fn declare_exclusive(&self, queue_prefix: &str, exchange: &str) -> Result<Consumer>;

    /// Whether messages can be published and consumed now, as far as is known without asking.
    fn is_healthy(&self) -> bool;

    /// Why it is not healthy; `None` when it is.
    fn trouble(&self) -> Option<String> {
        (!self.is_healthy()).then(|| "the message bus is away".to_owned())
    }

    /// Messages that wait in a queue, those being delivered not counted; `None` when unknown.
    async fn depth(&self, queue: &str) -> Option<u64>;

    /// Takes nothing more, gives what was published already a bounded time to be confirmed, and ends. Consumers end too.
    async fn close(&self);
}
