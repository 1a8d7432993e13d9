use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use sker_cache::{NewEvent, RealtimeLog, Replay};
use sker_error::{Error, Result};
use sker_types::ChannelEvent;

/// A log behind a network that can be cut. Those who write to it are on its side of the cut.
pub struct FarLog {
    pub log: Arc<dyn RealtimeLog>,
    pub cut: Arc<AtomicBool>,
}

impl FarLog {
    fn reach(&self) -> Result<&dyn RealtimeLog> {
        if self.cut.load(Ordering::SeqCst) { Err(Error::unavailable("the log is away")) } else { Ok(&*self.log) }
    }
}

#[async_trait]
impl RealtimeLog for FarLog {
    async fn append(&self, channel: &str, event: NewEvent) -> Result<ChannelEvent> {
        self.reach()?.append(channel, event).await
    }

    async fn read(&self, channel: &str, after: u64, limit: usize) -> Result<Replay> {
        self.reach()?.read(channel, after, limit).await
    }

    async fn latest(&self, channel: &str) -> Result<u64> {
        self.reach()?.latest(channel).await
    }

    async fn latest_many(&self, channels: &[String]) -> Result<Vec<u64>> {
        self.reach()?.latest_many(channels).await
    }
}
