use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, AtomicU64},
};

use arc_swap::ArcSwap;
use bytes::Bytes;

use crate::app::model::{Health, Instance, ServiceEntry, ServiceKey};

/// A service as it was at one revision. Readers hold it for as long as they like.
#[derive(Debug)]
pub struct Snapshot {
    /// Which service.
    pub key: Arc<ServiceKey>,
    /// Grows with every change of this service, and with nothing else.
    pub revision: u64,
    /// Too many leases have run out at once; their instances are kept.
    pub protected: bool,
    /// What was said about the service; without it the service is implicit.
    pub entry: Option<Arc<ServiceEntry>>,
    /// Its instances by id, which is the order in which they came.
    pub instances: Vec<Arc<Instance>>,
    /// The discovery answer with every instance, made when it is first asked for.
    pub(crate) body: OnceLock<Bytes>,
}

impl Snapshot {
    /// A service of which nothing is known.
    pub fn empty(key: Arc<ServiceKey>, revision: u64) -> Self {
        Snapshot { key, revision, protected: false, entry: None, instances: Vec::new(), body: OnceLock::new() }
    }

    /// Whether there is anything to show of it.
    pub fn is_visible(&self) -> bool {
        self.entry.is_some() || !self.instances.is_empty()
    }

    /// How many instances are healthy.
    pub fn healthy(&self) -> usize {
        self.instances.iter().filter(|instance| instance.health() == Health::Healthy).count()
    }
}

/// Where the current snapshot of a service is found.
#[derive(Debug)]
pub(super) struct Cell {
    pub snapshot: ArcSwap<Snapshot>,
    /// Since when it is protected, on the lease clock; 0 when it is not. Written under the writer's lock.
    pub protected_since_ms: AtomicU64,
    /// It was protected for as long as is allowed. Written under the writer's lock.
    pub protection_spent: AtomicBool,
    /// Since when nothing is known of it, on the lease clock. Written under the writer's lock.
    pub empty_since_ms: AtomicU64,
}

impl Cell {
    pub fn new(snapshot: Snapshot) -> Self {
        Cell {
            snapshot: ArcSwap::from_pointee(snapshot),
            protected_since_ms: AtomicU64::new(0),
            protection_spent: AtomicBool::new(false),
            empty_since_ms: AtomicU64::new(0),
        }
    }
}
