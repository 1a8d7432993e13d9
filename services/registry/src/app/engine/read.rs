use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use sker_types::Uuid;

use super::{Engine, Snapshot};
use crate::app::model::{GroupEntry, GroupKey, Instance, ServiceKey};

/// How a blocking read ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// The revision is not the one that the reader had.
    Changed,
    /// Time was up, or the registry is stopping.
    Over,
}

impl Engine {
    /// A service as it is now; empty when nothing is known of it.
    pub fn snapshot(&self, key: &ServiceKey) -> Arc<Snapshot> {
        match self.cell(key) {
            Some(cell) => cell.snapshot.load_full(),
            None => {
                let floor = self.floor.load(Ordering::Acquire);
                Arc::new(Snapshot::empty(Arc::new(key.clone()), floor))
            }
        }
    }

    /// An instance by id.
    pub fn instance(&self, id: Uuid) -> Option<Arc<Instance>> {
        self.instances.get(&id).map(|instance| instance.value().clone())
    }

    /// What was said about a group.
    pub fn group(&self, key: &GroupKey) -> Option<Arc<GroupEntry>> {
        self.groups.get(key).map(|entry| entry.value().clone())
    }

    /// Every service of a tenant that shows, in the order of names.
    pub fn services(&self, tenant: &str) -> Vec<Arc<Snapshot>> {
        let mut found: Vec<Arc<Snapshot>> = self
            .services
            .iter()
            .filter(|cell| &*cell.key().tenant == tenant)
            .map(|cell| cell.value().snapshot.load_full())
            .filter(|snapshot| snapshot.is_visible())
            .collect();
        found.sort_unstable_by(|left, right| left.key.cmp(&right.key));
        found
    }

    /// Every group of a tenant by name, with its entry unless it is implicit.
    pub fn groups(&self, tenant: &str) -> BTreeMap<Arc<str>, Option<Arc<GroupEntry>>> {
        let mut groups: BTreeMap<Arc<str>, Option<Arc<GroupEntry>>> = self
            .services
            .iter()
            .filter(|cell| &*cell.key().tenant == tenant && cell.value().snapshot.load().is_visible())
            .map(|cell| (cell.key().group.clone(), None))
            .collect();
        for entry in self.groups.iter().filter(|entry| &*entry.key().tenant == tenant) {
            groups.insert(entry.key().group.clone(), Some(entry.value().clone()));
        }
        groups
    }

    /// How many services and instances there are, over all tenants.
    pub fn sizes(&self) -> (usize, usize) {
        (self.services.len(), self.instances.len())
    }

    /// Waits until a service's revision is another than `known`.
    pub async fn wait(&self, key: &ServiceKey, known: u64, limit: Duration) -> Waiting {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            let woken = self.waker(key).notified();
            tokio::pin!(woken);
            // Listen before looking, or a change in between would be missed.
            woken.as_mut().enable();
            if self.snapshot(key).revision != known {
                return Waiting::Changed;
            }
            tokio::select! {
                () = woken => {}
                () = tokio::time::sleep_until(deadline) => return Waiting::Over,
                () = self.closed().cancelled() => return Waiting::Over,
            }
        }
    }
}
