use async_trait::async_trait;
use serde_json::Value;
use sker_error::Result;
use sker_types::{ChannelEvent, Time, Uuid};

/// An event that has no place in a channel yet.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// One of [`sker_types::event_type`].
    pub kind: String,
    /// Stable when the producer repeats itself.
    pub id: Uuid,
    /// When it happened.
    pub time: Time,
    /// The event's own data.
    pub data: Value,
}

/// What a reader of a channel gets.
#[derive(Clone, Debug, PartialEq)]
pub enum Replay {
    /// The events after the one asked for, in order, without a gap. Empty when there are none.
    Events(Vec<ChannelEvent>),
    /// Some of what followed is forgotten. The reader has to read the state anew and go on after `latest`.
    TooOld {
        /// The channel's last sequence number.
        latest: u64,
    },
}

/// The events of each realtime channel, in order, for as long as memory is given to them.
///
/// Sequence numbers of a channel only grow, also across restarts of whatever keeps the log. Every implementation passes
/// [`crate::contract`].
#[async_trait]
pub trait RealtimeLog: Send + Sync + 'static {
    /// Gives an event its place in a channel. An id that the channel has already is answered with the event as it stands
    /// there: a relay that repeats itself adds nothing.
    async fn append(&self, channel: &str, event: NewEvent) -> Result<ChannelEvent>;

    /// At most `limit` events whose sequence number is above `after`, in order. `after` 0 asks for everything.
    async fn read(&self, channel: &str, after: u64, limit: usize) -> Result<Replay>;

    /// The sequence number that a new reader goes on from: that of the last event, or the one before the first.
    async fn latest(&self, channel: &str) -> Result<u64>;

    /// [`RealtimeLog::latest`] of many channels, in their order.
    async fn latest_many(&self, channels: &[String]) -> Result<Vec<u64>> {
        let mut all = Vec::with_capacity(channels.len());
        for channel in channels {
            all.push(self.latest(channel).await?);
        }
        Ok(all)
    }
}
