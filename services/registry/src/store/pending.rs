use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use super::rows::{EndpointKey, endpoint};
use crate::app::model::{Event, GroupEntry, GroupKey, Instance, ServiceEntry, ServiceKey, Subject};

/// Events that are kept for a database that is away. Beyond these the oldest are lost; rows never are.
const MOST_EVENTS: usize = 100_000;

/// What is to be written: per row its latest state, `None` for a row to delete. A row that changes often while the
/// database is slow is written once.
#[derive(Default)]
pub(super) struct Pending {
    pub groups: HashMap<GroupKey, Option<Arc<GroupEntry>>>,
    pub services: HashMap<Arc<ServiceKey>, Option<Arc<ServiceEntry>>>,
    pub instances: HashMap<EndpointKey, Option<Arc<Instance>>>,
    pub events: VecDeque<Arc<Event>>,
    /// The revision of the last change in it.
    pub revision: u64,
    pub lost_events: u64,
}

impl Pending {
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.services.is_empty() && self.instances.is_empty() && self.events.is_empty()
    }

    /// How many rows are to be written.
    pub fn len(&self) -> usize {
        self.groups.len() + self.services.len() + self.instances.len() + self.events.len()
    }

    pub fn take(&mut self, event: &Arc<Event>, keep_events: bool) {
        let gone = event.is_removal();
        match &event.subject {
            Subject::Instance(instance) => {
                self.instances.insert(endpoint(instance), (!gone).then(|| instance.clone()));
            }
            Subject::Service(entry) => {
                self.services.insert(entry.key.clone(), (!gone).then(|| entry.clone()));
            }
            Subject::Group(entry) => {
                self.groups.insert(entry.key.clone(), (!gone).then(|| entry.clone()));
            }
            // The threshold stands in the entry; whether it holds is found out anew.
            Subject::Protection(_) => {}
        }
        self.revision = event.revision;
        if keep_events {
            self.events.push_back(event.clone());
            self.trim();
        }
    }

    /// Puts back what could not be written, behind what has changed since.
    pub fn put_back(&mut self, older: Pending) {
        for (key, state) in older.groups {
            self.groups.entry(key).or_insert(state);
        }
        for (key, state) in older.services {
            self.services.entry(key).or_insert(state);
        }
        for (key, state) in older.instances {
            self.instances.entry(key).or_insert(state);
        }
        let newer = std::mem::replace(&mut self.events, older.events);
        self.events.extend(newer);
        self.revision = self.revision.max(older.revision);
        self.lost_events += older.lost_events;
        self.trim();
    }

    /// Two parts of it, neither of them empty when it has two rows or more.
    pub fn halves(self) -> (Pending, Pending) {
        let mut halves = (Pending::default(), Pending::default());
        let mut room = self.len() / 2;
        let mut next = || {
            let is_first = room > 0;
            room = room.saturating_sub(1);
            is_first
        };
        let (first, second) = (&mut halves.0, &mut halves.1);
        for (key, state) in self.groups {
            (if next() { &mut first.groups } else { &mut second.groups }).insert(key, state);
        }
        for (key, state) in self.services {
            (if next() { &mut first.services } else { &mut second.services }).insert(key, state);
        }
        for (key, state) in self.instances {
            (if next() { &mut first.instances } else { &mut second.instances }).insert(key, state);
        }
        for event in self.events {
            (if next() { &mut first.events } else { &mut second.events }).push_back(event);
        }
        halves
    }

    /// Puts together again what [`Self::halves`] took apart.
    pub fn append(&mut self, later: Pending) {
        self.groups.extend(later.groups);
        self.services.extend(later.services);
        self.instances.extend(later.instances);
        self.events.extend(later.events);
    }

    fn trim(&mut self) {
        while self.events.len() > MOST_EVENTS {
            self.events.pop_front();
            self.lost_events += 1;
        }
    }
}
