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
mod notify;
mod publish;
mod queries;
mod relay;
mod row;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

pub use entity::{Channels, Model as OutboxRow};
pub use metrics::RelayMetrics;
pub use migration::{CreateOutbox, migration};
pub use relay::{BATCH, Relay, RelayHook};
pub use row::{NewRow, append};
use tokio::sync::Notify;

/// Tells the relay that there is something to carry. Call [`Outbox::wake`] after the commit; without it the relay looks
/// once a second.
///
/// Where several processes share a database on PostgreSQL and one of them relays, the others [`Outbox::forward`] their
/// wakes and that one [`Outbox::listen`]s, by NOTIFY. Not in the transaction that writes, because those that notify
/// commit one after the other.
#[derive(Clone, Debug, Default)]
pub struct Outbox {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Relays that run in this process.
    relays: AtomicUsize,
    /// For the relay of this process.
    here: Notify,
    /// For that of another process.
    elsewhere: Notify,
}

/// As long as it lives, a relay runs in this process.
pub(crate) struct RelayedHere {
    shared: Arc<Shared>,
}

impl Outbox {
    /// A signal with nobody waiting yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Something was committed. Never waits; any number of calls before the relay looks count as one.
    pub fn wake(&self) {
        match self.shared.relays.load(Ordering::Acquire) {
            0 => self.shared.elsewhere.notify_one(),
            _ => self.shared.here.notify_one(),
        }
    }

    pub(crate) async fn awoken(&self) {
        self.shared.here.notified().await;
    }

    pub(crate) async fn awoken_elsewhere(&self) {
        self.shared.elsewhere.notified().await;
    }

    pub(crate) fn relayed_here(&self) -> RelayedHere {
        self.shared.relays.fetch_add(1, Ordering::AcqRel);
        RelayedHere { shared: self.shared.clone() }
    }
}

impl Drop for RelayedHere {
    fn drop(&mut self) {
        self.shared.relays.fetch_sub(1, Ordering::AcqRel);
    }
}
