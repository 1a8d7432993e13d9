//! Transactional outbox and its relay.
//!
//! What others must hear of is written into the table `outbox` by the transaction that changes the state ([`append`]), so
//! that either both are there or neither is. A [`Relay`] later carries the rows out: to the realtime log of their channels,
//! and to an exchange of the bus.
//!
//! **Promises.** Every committed row is carried out at least once, with an id that stays the same. Events of one aggregate
//! keep their order, and so do messages of one aggregate with one exchange and key; nothing is promised between aggregates.
//! A relay that dies, or cannot mark what it has published, repeats at most the batch it was at ([`BATCH`] rows).
//!
//! A row that the bus refuses (queue full, nobody bound) stays and is tried again; it holds up only rows of the same
//! route. With the realtime log away, events wait; wake-ups for work still go out.

mod entity;
mod metrics;
mod migration;
mod publish;
mod queries;
mod relay;
mod row;

use std::sync::Arc;

pub use entity::{Channels, Model as OutboxRow};
pub use metrics::RelayMetrics;
pub use migration::{CreateOutbox, migration};
pub use relay::{BATCH, Relay, RelayHook};
pub use row::{NewRow, append};
use tokio::sync::Notify;

/// Tells the relay that there is something to carry. Call [`Outbox::wake`] after the commit; without it the relay looks
/// once a second.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    signal: Arc<Notify>,
}

impl Outbox {
    /// A signal with nobody waiting yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Something was committed. Never waits; any number of calls before the relay looks count as one.
    pub fn wake(&self) {
        self.signal.notify_one();
    }

    pub(crate) async fn awoken(&self) {
        self.signal.notified().await;
    }
}
