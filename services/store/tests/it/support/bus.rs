use std::sync::atomic::{AtomicU8, Ordering};

use async_trait::async_trait;
use sker_bus::{Bus, Consumer, MemoryBus, Message};
use sker_error::{Error, Result};
use sker_types::Uuid;

/// How a bus takes messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// As it should.
    Good,
    /// It is away: publishing fails.
    Away,
    /// It takes none: every message comes back, as from a full queue.
    Full,
}

/// A bus that can be made to refuse, and to be well again.
pub struct MoodyBus {
    inner: MemoryBus,
    mood: AtomicU8,
}

impl MoodyBus {
    pub fn new(mood: Mood) -> Self {
        MoodyBus { inner: MemoryBus::new(), mood: AtomicU8::new(mood as u8) }
    }

    pub fn set(&self, mood: Mood) {
        self.mood.store(mood as u8, Ordering::SeqCst);
    }

    fn is(&self, mood: Mood) -> bool {
        self.mood.load(Ordering::SeqCst) == mood as u8
    }
}

#[async_trait]
impl Bus for MoodyBus {
    async fn publish(&self, exchange: &str, messages: Vec<Message>) -> Result<Vec<Uuid>> {
        if self.is(Mood::Away) {
            return Err(Error::unavailable("the bus is away"));
        }
        if self.is(Mood::Full) {
            return Ok(messages.iter().map(|message| message.id).collect());
        }
        self.inner.publish(exchange, messages).await
    }

    async fn consume(&self, queue: &str, prefetch: u16) -> Result<Consumer> {
        self.inner.consume(queue, prefetch).await
    }

    async fn declare_exclusive(&self, queue_prefix: &str, exchange: &str) -> Result<Consumer> {
        self.inner.declare_exclusive(queue_prefix, exchange).await
    }

    fn is_healthy(&self) -> bool {
        !self.is(Mood::Away) && self.inner.is_healthy()
    }

    async fn depth(&self, queue: &str) -> Option<u64> {
        self.inner.depth(queue).await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
