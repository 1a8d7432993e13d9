use std::sync::{Arc, OnceLock};

use sker_types::{Time, new_id};

use super::snapshot::Snapshot;
use crate::app::model::{Cause, Event, EventKind, Instance, ServiceEntry, Subject};

/// A change of one service in the making. Every step makes an event with the next revision; the snapshot that comes out
/// has the revision of the last.
pub(super) struct Draft<'a> {
    pub snapshot: Snapshot,
    pub events: Vec<Arc<Event>>,
    pub now: Time,
    revision: &'a mut u64,
    cause: &'a Cause,
}

impl<'a> Draft<'a> {
    pub fn new(current: &Snapshot, now: Time, revision: &'a mut u64, cause: &'a Cause) -> Self {
        let snapshot = Snapshot {
            key: current.key.clone(),
            revision: current.revision,
            protected: current.protected,
            entry: current.entry.clone(),
            instances: current.instances.clone(),
            body: OnceLock::new(),
        };
        Draft { snapshot, events: Vec::new(), now, revision, cause }
    }

    /// Puts a version of an instance in place of the one before, if any.
    pub fn put(&mut self, mut instance: Instance, kind: EventKind) -> Arc<Instance> {
        *self.revision += 1;
        instance.revision = *self.revision;
        let instance = Arc::new(instance);
        match self.snapshot.instances.binary_search_by_key(&instance.id, |known| known.id) {
            Ok(place) => self.snapshot.instances[place] = instance.clone(),
            Err(place) => self.snapshot.instances.insert(place, instance.clone()),
        }
        self.emit(kind, Subject::Instance(instance.clone()));
        instance
    }

    /// Takes out instances.
    pub fn remove(&mut self, gone: &[Arc<Instance>], kind: EventKind) {
        // Both are in the order of ids, so that thousands that vanish at once cost one pass.
        let mut rest = gone.iter().peekable();
        self.snapshot.instances.retain(|known| match rest.peek() {
            Some(next) if next.id == known.id => {
                rest.next();
                false
            }
            _ => true,
        });
        for instance in gone {
            *self.revision += 1;
            let last = Instance { revision: *self.revision, ..instance.next() };
            self.emit(kind, Subject::Instance(Arc::new(last)));
        }
    }

    /// Sets or clears what is said about the service.
    pub fn describe(&mut self, entry: Option<Arc<ServiceEntry>>, subject: Arc<ServiceEntry>, kind: EventKind) {
        *self.revision += 1;
        self.snapshot.entry = entry;
        self.emit(kind, Subject::Service(subject));
    }

    /// Begins or ends the protection.
    pub fn protect(&mut self, protected: bool) {
        *self.revision += 1;
        self.snapshot.protected = protected;
        let kind = if protected { EventKind::ServiceProtected } else { EventKind::ServiceUnprotected };
        self.emit(kind, Subject::Protection(self.snapshot.key.clone()));
    }

    fn emit(&mut self, kind: EventKind, subject: Subject) {
        self.snapshot.revision = *self.revision;
        self.events.push(Arc::new(Event {
            id: new_id(),
            revision: *self.revision,
            time: self.now,
            kind,
            subject,
            cause: self.cause.clone(),
        }));
    }
}
