use std::sync::{Arc, OnceLock, atomic::Ordering};

use sker_error::{Error, Result};
use sker_types::{Uuid, new_id};

use super::{Engine, Identity, Snapshot, StoredInstance, Writer, draft::Draft, snapshot::Cell};
use crate::app::model::{
    Cause, Event, EventKind, GroupEntry, GroupKey, Health, Instance, Lease, ServiceEntry, ServiceKey, Spec, Status,
    Subject,
};

/// A request to register.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Which service.
    pub key: ServiceKey,
    /// What the client says.
    pub spec: Spec,
    /// Its health, as it says.
    pub health: Health,
    /// Whether its routes count.
    pub trusted: bool,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Registered {
    /// The instance as it is now.
    pub instance: Arc<Instance>,
    /// `false` when the same endpoint was registered before.
    pub created: bool,
}

impl Engine {
    /// Registers an endpoint, or refreshes it. The same again renews the lease and changes nothing else.
    pub fn register(&self, registration: Registration, cause: &Cause) -> Registered {
        let mut writer = self.writer();
        let key = Arc::new(registration.key.clone());
        let identity =
            Identity { service: key.clone(), host: registration.spec.host.clone(), port: registration.spec.port };
        let known = writer.identities.get(&identity).and_then(|id| self.instance(*id));
        if let Some(known) = known {
            // Renewing cannot fail: leases end only under the lock that is held here, together with the identity.
            known.lease.renew(self.lease_clock.now_ms(), self.clock.now(), None);
            return Registered { instance: self.refresh(&mut writer, &known, registration, cause), created: false };
        }
        let id = new_id();
        let instance = Instance {
            id,
            key: key.clone(),
            spec: Arc::new(registration.spec),
            reported_health: registration.health,
            status_override: None,
            expired: false,
            trusted: registration.trusted,
            registered_at: self.clock.now(),
            revision: 0,
            lease: Arc::new(Lease::new(self.lease_clock.now_ms(), self.clock.now())),
            json: OnceLock::new(),
        };
        writer.identities.insert(identity, id);
        self.counters.registrations.fetch_add(1, Ordering::Relaxed);
        let instance =
            self.change(&mut writer, &key, cause, |draft| draft.put(instance, EventKind::InstanceRegistered));
        Registered { instance, created: true }
    }

    fn refresh(
        &self,
        writer: &mut Writer,
        known: &Arc<Instance>,
        registration: Registration,
        cause: &Cause,
    ) -> Arc<Instance> {
        let same = *known.spec == registration.spec
            && known.reported_health == registration.health
            && known.trusted == registration.trusted
            && !known.expired;
        if same {
            return known.clone();
        }
        let next = Instance {
            spec: Arc::new(registration.spec),
            reported_health: registration.health,
            trusted: registration.trusted,
            expired: false,
            ..known.next()
        };
        self.change(writer, &known.key, cause, |draft| draft.put(next, EventKind::InstanceUpdated))
    }

    /// Renews a lease. `false` when there is none: the client has to register again.
    pub fn heartbeat(&self, instance: &Arc<Instance>, active_connections: Option<u32>) -> bool {
        if !instance.lease.renew(self.lease_clock.now_ms(), self.clock.now(), active_connections) {
            return false;
        }
        self.counters.heartbeats.fetch_add(1, Ordering::Relaxed);
        if instance.expired {
            self.update(instance.id, &Cause::registry("heartbeats are back"), |current| {
                (current.expired)
                    .then(|| (Instance { expired: false, ..current.next() }, EventKind::InstanceHealthChanged))
            });
        }
        true
    }

    /// Takes an instance's word about its health, which also renews its lease.
    pub fn set_health(&self, id: Uuid, health: Health, cause: &Cause) -> Option<Arc<Instance>> {
        let instance = self.instance(id)?;
        instance.lease.renew(self.lease_clock.now_ms(), self.clock.now(), None);
        self.update(id, cause, |current| {
            (current.reported_health != health || current.expired).then(|| {
                let next = Instance { reported_health: health, expired: false, ..current.next() };
                (next, EventKind::InstanceHealthChanged)
            })
        })
    }

    /// Sets or lifts an operator's override of an instance's status.
    pub fn override_status(&self, id: Uuid, status: Option<Status>, cause: &Cause) -> Option<Arc<Instance>> {
        self.update(id, cause, |current| {
            (current.status_override != status)
                .then(|| (Instance { status_override: status, ..current.next() }, EventKind::InstanceStatusChanged))
        })
    }

    /// Takes an instance out and says at which revision; `None` when it is not there. With `revision` only when it has not
    /// changed since.
    pub fn deregister(&self, id: Uuid, revision: Option<u64>, cause: &Cause) -> Option<u64> {
        let mut writer = self.writer();
        let instance = self.instance(id)?;
        if revision.is_some_and(|revision| revision != instance.revision) {
            return None;
        }
        instance.lease.end();
        self.change(&mut writer, &instance.key, cause, |draft| {
            draft.remove(std::slice::from_ref(&instance), EventKind::InstanceDeregistered);
        });
        self.counters.deregistrations.fetch_add(1, Ordering::Relaxed);
        Some(writer.revision)
    }

    /// Makes, changes or deletes what is said about a service. `decide` sees the service and may refuse.
    pub fn describe_service(
        &self,
        key: &ServiceKey,
        cause: &Cause,
        decide: impl FnOnce(&Snapshot) -> Result<Option<ServiceEntry>>,
    ) -> Result<Arc<Snapshot>> {
        let mut writer = self.writer();
        let current = self.snapshot(key);
        let next = decide(&current)?.map(Arc::new);
        let (kind, subject) = match (&current.entry, &next) {
            (None, Some(entry)) => (EventKind::ServiceCreated, entry.clone()),
            (Some(_), Some(entry)) => (EventKind::ServiceUpdated, entry.clone()),
            (Some(entry), None) => (EventKind::ServiceDeleted, entry.clone()),
            (None, None) => return Err(Error::not_found("service")),
        };
        self.change(&mut writer, &current.key, cause, |draft| draft.describe(next, subject, kind));
        Ok(self.snapshot(key))
    }

    /// Makes, changes or deletes what is said about a group. `decide` sees the entry and may refuse.
    pub fn describe_group(
        &self,
        key: &GroupKey,
        cause: &Cause,
        decide: impl FnOnce(Option<&GroupEntry>) -> Result<Option<GroupEntry>>,
    ) -> Result<Arc<GroupEntry>> {
        let mut writer = self.writer();
        let current = self.group(key);
        let next = decide(current.as_deref())?;
        let (kind, mut subject) = match (current, next) {
            (None, Some(entry)) => (EventKind::GroupCreated, entry),
            (Some(_), Some(entry)) => (EventKind::GroupUpdated, entry),
            (Some(entry), None) => (EventKind::GroupDeleted, entry.as_ref().clone()),
            (None, None) => return Err(Error::not_found("group")),
        };
        writer.revision += 1;
        subject.revision = writer.revision;
        let subject = Arc::new(subject);
        match kind {
            EventKind::GroupDeleted => drop(self.groups.remove(key)),
            _ => drop(self.groups.insert(key.clone(), subject.clone())),
        }
        let event = Event {
            id: new_id(),
            revision: writer.revision,
            time: self.clock.now(),
            kind,
            subject: Subject::Group(subject.clone()),
            cause: cause.clone(),
        };
        self.publish(&[Arc::new(event)]);
        Ok(subject)
    }

    /// Makes the next version of an instance unless `next` sees nothing to change.
    pub(super) fn update(
        &self,
        id: Uuid,
        cause: &Cause,
        next: impl FnOnce(&Instance) -> Option<(Instance, EventKind)>,
    ) -> Option<Arc<Instance>> {
        let mut writer = self.writer();
        let current = self.instance(id)?;
        match next(&current) {
            None => Some(current),
            Some((next, kind)) => Some(self.change(&mut writer, &current.key, cause, |draft| draft.put(next, kind))),
        }
    }

    /// Changes one service: snapshot, indexes, ring and journal, in this order. Who reads the ring's head first and a
    /// snapshot after it misses nothing.
    pub(super) fn change<T>(
        &self,
        writer: &mut Writer,
        key: &Arc<ServiceKey>,
        cause: &Cause,
        steps: impl FnOnce(&mut Draft<'_>) -> T,
    ) -> T {
        let cell = self.cell(key).unwrap_or_else(|| {
            let floor = self.floor.load(Ordering::Acquire);
            let cell = Arc::new(Cell::new(Snapshot::empty(key.clone(), floor)));
            self.services.insert(key.clone(), cell.clone());
            cell
        });
        let current = cell.snapshot.load_full();
        let mut draft = Draft::new(&current, self.clock.now(), &mut writer.revision, cause);
        let outcome = steps(&mut draft);
        let Draft { snapshot, events, .. } = draft;
        if events.is_empty() {
            return outcome;
        }
        if !snapshot.is_visible() {
            cell.empty_since_ms.store(self.lease_clock.now_ms(), Ordering::Relaxed);
        }
        cell.snapshot.store(Arc::new(snapshot));
        for event in &events {
            if let Subject::Instance(instance) = &event.subject {
                if event.is_removal() {
                    self.instances.remove(&instance.id);
                    writer.identities.remove(&Identity::of(instance));
                } else {
                    self.instances.insert(instance.id, instance.clone());
                }
            }
        }
        self.publish(&events);
        self.waker(key).notify_waiters();
        outcome
    }

    fn publish(&self, events: &[Arc<Event>]) {
        for event in events {
            self.journal.record(event);
        }
        self.ring.extend(events);
    }

    pub(super) fn restored(&self, stored: StoredInstance) -> Instance {
        let StoredInstance { id, registration, status_override, registered_at, revision } = stored;
        Instance {
            id,
            key: Arc::new(registration.key),
            spec: Arc::new(registration.spec),
            reported_health: registration.health,
            status_override,
            expired: false,
            trusted: registration.trusted,
            registered_at,
            revision,
            lease: Arc::new(Lease::new(self.lease_clock.now_ms(), self.clock.now())),
            json: OnceLock::new(),
        }
    }
}
