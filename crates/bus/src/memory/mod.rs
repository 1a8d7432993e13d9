//! The bus inside this process: one task that owns a [`state::State`], and handles that send it commands.
//!
//! The task owns everything, so there is no lock, and a delivery that is dropped anywhere can be given back without waiting.

mod state;

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use async_trait::async_trait;
use futures::Stream;
use sker_error::{Error, Result};
use sker_types::Uuid;
use tokio::sync::{mpsc, oneshot};

use self::state::{ConsumerId, Handed, State, Tag};
use crate::{Bus, Consumer, Delivery, Message, Outcome, Settle, topology};

/// A [`Bus`] inside this process, with the whole of [`topology`]. Clones share it. What it holds is lost with the process,
/// which the promise of a bus allows.
#[derive(Clone, Debug)]
pub struct MemoryBus {
    commands: mpsc::UnboundedSender<Command>,
    next_consumer: Arc<AtomicU64>,
}

/// Commands cannot pile up: publishers wait for their answer, and no more is settled than was delivered.
#[derive(Debug)]
enum Command {
    Publish {
        exchange: String,
        messages: Vec<Message>,
        answer: oneshot::Sender<Result<Vec<Uuid>>>,
    },
    Consume {
        subscription: Subscription,
        answer: oneshot::Sender<Result<()>>,
    },
    /// With what the consumer never looked at, in order.
    Cancel {
        consumer: ConsumerId,
        untouched: Vec<Tag>,
    },
    Settle {
        tag: Tag,
        outcome: Outcome,
    },
    Depth {
        queue: String,
        answer: oneshot::Sender<Option<u64>>,
    },
    Close,
}

#[derive(Debug)]
struct Subscription {
    queue: String,
    /// The exchange that a queue of its own is bound to.
    exclusive: Option<String>,
    consumer: ConsumerId,
    prefetch: u16,
    deliveries: mpsc::UnboundedSender<Handed>,
}

impl Default for MemoryBus {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryBus {
    /// A bus with the topology and no messages. Needs a tokio runtime; its task ends when the last handle, consumer and
    /// delivery is gone, or with [`Bus::close`].
    pub fn new() -> Self {
        Self::with_queues(topology::QUEUES)
    }

    fn with_queues(queues: &[topology::Queue]) -> Self {
        let (commands, received) = mpsc::unbounded_channel();
        let state = State::new(topology::EXCHANGES, queues, topology::BINDINGS);
        tokio::spawn(serve(state, received));
        MemoryBus { commands, next_consumer: Arc::default() }
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(command(answer)).map_err(|_| closed())?;
        answered.await.map_err(|_| closed())
    }

    async fn subscribe(&self, queue: String, exclusive: Option<String>, prefetch: u16) -> Result<Consumer> {
        let (deliveries, handed) = mpsc::unbounded_channel();
        let consumer = ConsumerId(self.next_consumer.fetch_add(1, Ordering::Relaxed));
        // Before the command: a caller that stops waiting leaves no consumer behind.
        let stream = Deliveries { consumer, handed, commands: self.commands.clone(), live_only: exclusive.is_some() };
        let subscription = Subscription { queue: queue.clone(), exclusive, consumer, prefetch, deliveries };
        self.ask(|answer| Command::Consume { subscription, answer }).await??;
        Ok(Consumer::new(queue, stream))
    }
}

fn closed() -> Error {
    Error::unavailable("the message bus is closed")
}

#[async_trait]
impl Bus for MemoryBus {
    async fn publish(&self, exchange: &str, messages: Vec<Message>) -> Result<Vec<Uuid>> {
        let exchange = exchange.to_owned();
        self.ask(|answer| Command::Publish { exchange, messages, answer }).await?
    }

    async fn consume(&self, queue: &str, prefetch: u16) -> Result<Consumer> {
        self.subscribe(queue.to_owned(), None, prefetch).await
    }

    async fn declare_exclusive(&self, queue_prefix: &str, exchange: &str) -> Result<Consumer> {
        let queue = format!("{queue_prefix}{}", Uuid::new_v4().simple());
        self.subscribe(queue, Some(exchange.to_owned()), topology::EXCLUSIVE_PREFETCH).await
    }

    fn is_healthy(&self) -> bool {
        !self.commands.is_closed()
    }

    async fn depth(&self, queue: &str) -> Option<u64> {
        let queue = queue.to_owned();
        self.ask(|answer| Command::Depth { queue, answer }).await.ok().flatten()
    }

    async fn close(&self) {
        // Closed already is closed.
        let _ = self.commands.send(Command::Close);
        self.commands.closed().await;
    }
}

/// Owns the state until the bus is closed or nobody can reach it any more.
async fn serve(mut state: State, mut commands: mpsc::UnboundedReceiver<Command>) {
    while let Some(command) = commands.recv().await {
        match command {
            Command::Publish { exchange, messages, answer } => {
                // A publisher that stopped waiting publishes again; nothing to do for it here.
                let _ = answer.send(state.publish(&exchange, messages));
            }
            Command::Consume { subscription, answer } => {
                let Subscription { queue, exclusive, consumer, prefetch, deliveries } = subscription;
                let declared = match exclusive {
                    Some(exchange) => state.declare_exclusive(&queue, &exchange),
                    None => Ok(()),
                };
                let _ = answer.send(declared.and_then(|()| state.consume(&queue, consumer, prefetch, deliveries)));
            }
            Command::Cancel { consumer, untouched } => state.cancel(consumer, untouched),
            Command::Settle { tag, outcome } => state.settle(tag, outcome),
            Command::Depth { queue, answer } => {
                let _ = answer.send(state.depth(&queue));
            }
            Command::Close => return,
        }
    }
}

/// A consumer's stream. A message becomes a [`Delivery`] only when it is taken; those that never were go back uncounted.
struct Deliveries {
    consumer: ConsumerId,
    handed: mpsc::UnboundedReceiver<Handed>,
    commands: mpsc::UnboundedSender<Command>,
    live_only: bool,
}

impl Stream for Deliveries {
    type Item = Delivery;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Delivery>> {
        self.handed.poll_recv(context).map(|handed| {
            handed.map(|Handed { tag, message, attempt }| {
                let settle = MemorySettle { tag, commands: self.commands.clone(), live_only: self.live_only };
                Delivery::new(message, attempt, Box::new(settle))
            })
        })
    }
}

impl Drop for Deliveries {
    fn drop(&mut self) {
        // From here on nothing more is handed out, so that nothing is missed below.
        self.handed.close();
        let mut untouched = Vec::new();
        while let Ok(handed) = self.handed.try_recv() {
            untouched.push(handed.tag);
        }
        // A bus that is closed has no messages to give back to.
        let _ = self.commands.send(Command::Cancel { consumer: self.consumer, untouched });
    }
}

struct MemorySettle {
    tag: Tag,
    commands: mpsc::UnboundedSender<Command>,
    live_only: bool,
}

impl MemorySettle {
    fn send(&self, outcome: Outcome) -> Result<()> {
        let outcome = if self.live_only { Outcome::Ack } else { outcome };
        self.commands.send(Command::Settle { tag: self.tag, outcome }).map_err(|_| closed())
    }
}

#[async_trait]
impl Settle for MemorySettle {
    async fn settle(self: Box<Self>, outcome: Outcome) -> Result<()> {
        self.send(outcome)
    }

    fn abandon(self: Box<Self>) {
        let _ = self.send(Outcome::Requeue);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{contract, topology::Overflow};

    #[tokio::test]
    async fn it_keeps_the_contract() {
        contract::run(|| async { MemoryBus::new() }).await;
    }

    fn message(number: u32) -> Message {
        Message::json("task.wake", "test", "llm.process.normal", &number).unwrap()
    }

    #[tokio::test]
    async fn a_full_queue_names_what_it_did_not_take() {
        let small: Vec<topology::Queue> = topology::QUEUES
            .iter()
            .map(|queue| topology::Queue { max_length: 2, overflow: Overflow::RejectPublish, ..*queue })
            .collect();
        let bus = MemoryBus::with_queues(&small);
        let messages: Vec<Message> = (0..4).map(message).collect();
        let refused = bus.publish(topology::LLM_DIRECT, messages.clone()).await.unwrap();
        assert_eq!(refused, [messages[2].id, messages[3].id]);
        let mut consumer = bus.consume(topology::PROCESS_QUEUE, 1).await.unwrap();
        consumer.recv().await.unwrap().ack().await.unwrap();
        let refused = bus.publish(topology::LLM_DIRECT, vec![messages[2].clone()]).await.unwrap();
        assert!(refused.is_empty());
    }

    #[tokio::test]
    async fn a_closed_bus_ends_its_consumers_and_takes_nothing() {
        let bus = MemoryBus::new();
        let mut consumer = bus.consume(topology::PROCESS_QUEUE, 1).await.unwrap();
        assert!(bus.is_healthy());
        bus.close().await;
        assert!(consumer.recv().await.is_none());
        assert!(!bus.is_healthy());
        let error = bus.publish(topology::LLM_DIRECT, vec![message(1)]).await.unwrap_err();
        assert_eq!(error.code(), sker_error::Code::Unavailable);
        assert!(bus.consume(topology::PROCESS_QUEUE, 1).await.is_err());
        assert_eq!(bus.depth(topology::PROCESS_QUEUE).await, None);
    }

    #[tokio::test]
    async fn a_consumer_that_is_dropped_gives_back_what_it_never_looked_at() {
        let bus = MemoryBus::new();
        bus.publish(topology::LLM_DIRECT, (0..5).map(message).collect()).await.unwrap();
        drop(bus.consume(topology::PROCESS_QUEUE, 5).await.unwrap());
        let mut consumer = bus.consume(topology::PROCESS_QUEUE, 5).await.unwrap();
        for number in 0..5_u32 {
            let delivery = consumer.recv().await.unwrap();
            assert_eq!((delivery.message.parse::<u32>().unwrap(), delivery.attempt), (number, 1));
            delivery.ack().await.unwrap();
        }
    }
}
