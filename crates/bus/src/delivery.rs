use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use async_trait::async_trait;
use futures::{Stream, StreamExt, stream::BoxStream};
use sker_error::Result;

use crate::Message;

/// What a consumer makes of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done: forget it.
    Ack,
    /// Not done: deliver it again, to anyone. Beyond the queue's delivery limit it becomes a dead letter.
    Requeue,
    /// Cannot be done: make it a dead letter.
    Reject,
}

/// How an implementation of [`crate::Bus`] hears what became of a delivery.
#[async_trait]
pub trait Settle: Send + 'static {
    /// Tells the broker. An error means that it may not know: the message may be delivered again.
    async fn settle(self: Box<Self>, outcome: Outcome) -> Result<()>;

    /// The delivery was dropped: the same as [`Outcome::Requeue`], from a place that cannot wait.
    fn abandon(self: Box<Self>);
}

/// A message in the hands of a consumer. Dropping it gives it back to the queue.
pub struct Delivery {
    /// The message.
    pub message: Message,
    /// 1 at the first delivery, as far as the broker can tell.
    pub attempt: u32,
    settle: Option<Box<dyn Settle>>,
}

impl Delivery {
    /// A delivery that is settled through `settle`.
    pub fn new(message: Message, attempt: u32, settle: Box<dyn Settle>) -> Self {
        Delivery { message, attempt, settle: Some(settle) }
    }

    /// The work is done and committed.
    pub async fn ack(self) -> Result<()> {
        self.settle(Outcome::Ack).await
    }

    /// Somebody should try again.
    pub async fn requeue(self) -> Result<()> {
        self.settle(Outcome::Requeue).await
    }

    /// Nobody needs to try again: it goes to the dead letters.
    pub async fn reject(self) -> Result<()> {
        self.settle(Outcome::Reject).await
    }

    /// Tells the broker what became of it.
    pub async fn settle(mut self, outcome: Outcome) -> Result<()> {
        match self.settle.take() {
            Some(settle) => settle.settle(outcome).await,
            None => Ok(()),
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(settle) = self.settle.take() {
            settle.abandon();
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Delivery").field("message", &self.message).field("attempt", &self.attempt).finish()
    }
}

/// The deliveries of one queue to one consumer: a stream, and [`Consumer::recv`]. Dropping it stops the deliveries; those
/// that are in hand can still be settled.
pub struct Consumer {
    queue: String,
    deliveries: BoxStream<'static, Delivery>,
}

impl Consumer {
    /// A consumer of `queue`. Dropping it drops the stream, which has to stop the deliveries.
    pub fn new(queue: impl Into<String>, deliveries: impl Stream<Item = Delivery> + Send + 'static) -> Self {
        Consumer { queue: queue.into(), deliveries: deliveries.boxed() }
    }

    /// The queue's full name.
    pub fn queue(&self) -> &str {
        &self.queue
    }

    /// The next delivery; `None` when the stream has ended and one has to consume anew.
    pub async fn recv(&mut self) -> Option<Delivery> {
        self.deliveries.next().await
    }
}

impl Stream for Consumer {
    type Item = Delivery;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Delivery>> {
        self.deliveries.as_mut().poll_next(context)
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Consumer").field("queue", &self.queue).finish_non_exhaustive()
    }
}
