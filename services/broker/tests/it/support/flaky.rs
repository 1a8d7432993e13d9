use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use async_trait::async_trait;
use futures::StreamExt;
use sker_bus::{Bus, Consumer, Delivery, MemoryBus, Message, Outcome, Settle};
use sker_error::{Error, Result};
use sker_types::Uuid;

/// A bus that can be away and whose channels can die.
#[derive(Default)]
pub struct FlakyBus {
    inner: MemoryBus,
    /// Nothing can be published or consumed.
    pub away: AtomicBool,
    /// Publishing is never answered.
    pub silent: AtomicBool,
    /// Settling is never answered, and the delivery comes again.
    pub deaf: Arc<AtomicBool>,
    /// Work messages that were settled.
    pub settled: Arc<AtomicU32>,
}

impl FlakyBus {
    fn answer(&self) -> Result<()> {
        match self.away.load(Ordering::SeqCst) {
            true => Err(Error::unavailable("the bus is away")),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Bus for FlakyBus {
    async fn publish(&self, exchange: &str, messages: Vec<Message>) -> Result<Vec<Uuid>> {
        self.answer()?;
        if self.silent.load(Ordering::SeqCst) {
            return std::future::pending().await;
        }
        self.inner.publish(exchange, messages).await
    }

    async fn consume(&self, queue: &str, prefetch: u16) -> Result<Consumer> {
        self.answer()?;
        let (deaf, settled) = (Arc::clone(&self.deaf), Arc::clone(&self.settled));
        let deliveries = self.inner.consume(queue, prefetch).await?.map(move |delivery| {
            let (message, attempt) = (delivery.message.clone(), delivery.attempt);
            let settle = FlakySettle { delivery, deaf: Arc::clone(&deaf), settled: Arc::clone(&settled) };
            Delivery::new(message, attempt, Box::new(settle))
        });
        Ok(Consumer::new(queue, deliveries))
    }

    async fn declare_exclusive(&self, queue_prefix: &str, exchange: &str) -> Result<Consumer> {
        self.answer()?;
        self.inner.declare_exclusive(queue_prefix, exchange).await
    }

    fn is_healthy(&self) -> bool {
        !self.away.load(Ordering::SeqCst)
    }

    async fn depth(&self, queue: &str) -> Option<u64> {
        self.inner.depth(queue).await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

struct FlakySettle {
    delivery: Delivery,
    deaf: Arc<AtomicBool>,
    settled: Arc<AtomicU32>,
}

#[async_trait]
impl Settle for FlakySettle {
    async fn settle(self: Box<Self>, outcome: Outcome) -> Result<()> {
        if self.deaf.load(Ordering::SeqCst) {
            self.delivery.requeue().await?;
            return std::future::pending().await;
        }
        self.settled.fetch_add(1, Ordering::SeqCst);
        self.delivery.settle(outcome).await
    }

    fn abandon(self: Box<Self>) {}
}
