use std::{
    collections::VecDeque,
    sync::{Arc, PoisonError, RwLock},
};

use tokio::sync::watch;

use crate::app::model::Event;

/// The latest changes, in order and without a hole, for those who follow.
///
/// Followers read at their own pace by revision; who falls behind by more than the ring holds starts again from a
/// snapshot, so a slow or abandoned follower costs nothing.
pub struct Ring {
    events: RwLock<Events>,
    head: watch::Sender<u64>,
    capacity: usize,
}

struct Events {
    /// The revision before the first event kept.
    base: u64,
    kept: VecDeque<Arc<Event>>,
}

impl Ring {
    /// A ring that begins after `base`.
    pub fn new(base: u64, capacity: usize) -> Self {
        let events = Events { base, kept: VecDeque::new() };
        Ring { events: RwLock::new(events), head: watch::Sender::new(base), capacity: capacity.max(1) }
    }

    /// Adds events with the revisions that follow the head.
    pub(super) fn extend(&self, events: &[Arc<Event>]) {
        let Some(last) = events.last() else { return };
        {
            // Held for a few copies of pointers, and never across an await.
            let mut ring = self.events.write().unwrap_or_else(PoisonError::into_inner);
            ring.kept.extend(events.iter().cloned());
            while ring.kept.len() > self.capacity {
                ring.kept.pop_front();
                ring.base += 1;
            }
        }
        self.head.send_replace(last.revision);
    }

    /// At most `limit` events after `position`; `None` when they are not kept any more, or never were here.
    pub fn after(&self, position: u64, limit: usize) -> Option<Vec<Arc<Event>>> {
        let ring = self.events.read().unwrap_or_else(PoisonError::into_inner);
        let skip = usize::try_from(position.checked_sub(ring.base)?).ok()?;
        if skip > ring.kept.len() {
            return None;
        }
        Some(ring.kept.range(skip..).take(limit).cloned().collect())
    }

    /// The revision of the latest change.
    pub fn head(&self) -> u64 {
        *self.head.borrow()
    }

    /// Tells when the head moves.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }
}
