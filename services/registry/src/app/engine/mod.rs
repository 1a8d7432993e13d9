//! The working set: what is registered, in memory, with no knowledge of HTTP, gRPC or SQL.
//!
//! Readers load an immutable snapshot per service and wait for nothing. Heartbeats touch one atomic. Changes go one at a
//! time through [`Writer`], each with the next revision of one counter, so that the ring of events, the event log and
//! the snapshots agree on one order. A service's revision is that of its own last change; others do not move it.

mod draft;
mod expiry;
mod read;
mod ring;
mod snapshot;
mod write;

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
};

use dashmap::DashMap;
pub use expiry::ExpiryRules;
pub use read::Waiting;
pub use ring::Ring;
use sker_types::Uuid;
use snapshot::Cell;
pub use snapshot::Snapshot;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
pub use write::{Registered, Registration};

use super::{
    clock::{Clock, LeaseClock},
    model::{Event, GroupEntry, GroupKey, Instance, ServiceEntry, ServiceKey},
};

/// Told of every change, in order, as part of making it. Must not block.
pub trait Journal: Send + Sync + 'static {
    /// Takes note of a change.
    fn record(&self, event: &Arc<Event>);
}

/// What was there when the process last ran.
#[derive(Debug, Default)]
pub struct WorkingSet {
    /// Group entries.
    pub groups: Vec<GroupEntry>,
    /// Service entries.
    pub services: Vec<ServiceEntry>,
    /// Instances.
    pub instances: Vec<StoredInstance>,
    /// No revision was ever larger.
    pub max_revision: u64,
}

/// An instance as it is stored: a registration and what the registry itself knows of it.
#[derive(Debug)]
pub struct StoredInstance {
    /// Its id.
    pub id: Uuid,
    /// What was registered.
    pub registration: Registration,
    /// An operator's word.
    pub status_override: Option<super::model::Status>,
    /// When it was first registered.
    pub registered_at: sker_types::Time,
    /// Its revision when it was stored.
    pub revision: u64,
}

/// How many groups of waiting readers there are. Each is woken by changes of about one service in so many.
const WAKERS: usize = 256;

/// The working set of one registry.
pub struct Engine {
    clock: Arc<dyn Clock>,
    lease_clock: LeaseClock,
    rules: ExpiryRules,
    services: DashMap<Arc<ServiceKey>, Arc<Cell>>,
    instances: DashMap<Uuid, Arc<Instance>>,
    groups: DashMap<GroupKey, Arc<GroupEntry>>,
    ring: Ring,
    wakers: Vec<Notify>,
    /// The revision of services of which nothing is known: at least that of any service that was forgotten.
    floor: AtomicU64,
    boot: u64,
    writer: Mutex<Writer>,
    journal: Arc<dyn Journal>,
    closed: CancellationToken,
    counters: Counters,
    last_scan_ms: AtomicU64,
}

/// What only writers need.
struct Writer {
    revision: u64,
    identities: HashMap<Identity, Uuid>,
}

#[derive(PartialEq, Eq, Hash)]
struct Identity {
    service: Arc<ServiceKey>,
    host: String,
    port: u16,
}

/// Counted since the process started.
#[derive(Debug, Default)]
pub struct Counters {
    /// New instances.
    pub registrations: AtomicU64,
    /// Instances taken out by request.
    pub deregistrations: AtomicU64,
    /// Instances removed because their leases ran out.
    pub expirations: AtomicU64,
    /// Leases renewed.
    pub heartbeats: AtomicU64,
    /// Pauses of this process that leases were forgiven.
    pub stalls: AtomicU64,
}

impl Engine {
    /// An engine with what was stored. Every loaded lease is a fresh one: a restart of ours evicts nobody. Once `closed` is
    /// cancelled nobody waits here any more.
    pub fn new(
        clock: Arc<dyn Clock>,
        rules: ExpiryRules,
        ring_capacity: usize,
        journal: Arc<dyn Journal>,
        stored: WorkingSet,
        closed: CancellationToken,
    ) -> Arc<Engine> {
        // Revisions go on from where they were, even when the last ones were never stored.
        let by_time = u64::try_from(sker_types::to_micros(clock.now())).unwrap_or(0);
        let boot = by_time.max(stored.max_revision + 1);
        let engine = Engine {
            lease_clock: LeaseClock::new(clock.clone()),
            clock,
            rules,
            services: DashMap::new(),
            instances: DashMap::new(),
            groups: DashMap::new(),
            ring: Ring::new(boot, ring_capacity),
            wakers: (0..WAKERS).map(|_| Notify::new()).collect(),
            floor: AtomicU64::new(boot),
            boot,
            writer: Mutex::new(Writer { revision: boot, identities: HashMap::new() }),
            journal,
            closed,
            counters: Counters::default(),
            last_scan_ms: AtomicU64::new(0),
        };
        engine.restore(stored);
        Arc::new(engine)
    }

    /// What has been counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The changes, for those who follow.
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Names this run of the registry; tokens of another run mean nothing here.
    pub fn boot(&self) -> u64 {
        self.boot
    }

    /// Cancelled when nobody shall wait here any more.
    pub fn closed(&self) -> &CancellationToken {
        &self.closed
    }

    /// The clocks' time of day.
    pub fn now(&self) -> sker_types::Time {
        self.clock.now()
    }

    /// Held for a change of memory only, never across an await; readers and heartbeats do not take it.
    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cell(&self, key: &ServiceKey) -> Option<Arc<Cell>> {
        self.services.get(key).map(|cell| cell.value().clone())
    }

    fn waker(&self, key: &ServiceKey) -> &Notify {
        use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(key);
        &self.wakers[(hash % WAKERS as u64) as usize]
    }

    fn restore(&self, stored: WorkingSet) {
        for group in stored.groups {
            self.groups.insert(group.key.clone(), Arc::new(group));
        }
        for entry in stored.services {
            let mut snapshot = Snapshot::empty(entry.key.clone(), self.boot);
            snapshot.entry = Some(Arc::new(entry));
            self.services.insert(snapshot.key.clone(), Arc::new(Cell::new(snapshot)));
        }
        let mut by_service: HashMap<Arc<ServiceKey>, Vec<Arc<Instance>>> = HashMap::new();
        let mut writer = self.writer();
        for stored in stored.instances {
            let instance = Arc::new(self.restored(stored));
            writer.identities.insert(Identity::of(&instance), instance.id);
            self.instances.insert(instance.id, instance.clone());
            by_service.entry(instance.key.clone()).or_default().push(instance);
        }
        for (key, mut instances) in by_service {
            instances.sort_unstable_by_key(|instance| instance.id);
            let mut snapshot = Snapshot::empty(key.clone(), self.boot);
            snapshot.entry = self.cell(&key).and_then(|cell| cell.snapshot.load().entry.clone());
            snapshot.instances = instances;
            self.services.insert(key, Arc::new(Cell::new(snapshot)));
        }
    }
}

impl Identity {
    fn of(instance: &Instance) -> Identity {
        Identity { service: instance.key.clone(), host: instance.spec.host.clone(), port: instance.spec.port }
    }
}
