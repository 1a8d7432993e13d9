use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sker_types::{Time, Uuid};

use super::{EventKind, GroupEntry, Instance, ServiceEntry, ServiceKey};

/// Who did something and why, for the event log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// The user's id, the service's name, `anonymous`, or `registry` itself.
    pub actor: String,
    /// In a few words.
    pub reason: String,
    /// The request that did it, as in the logs.
    pub request_id: String,
}

impl Cause {
    /// Something that the registry did of its own accord.
    pub fn registry(reason: &str) -> Self {
        Cause { actor: "registry".to_owned(), reason: reason.to_owned(), request_id: String::new() }
    }
}

/// What an event is about, as it was afterwards, or at last when it is gone.
#[derive(Clone, Debug)]
pub enum Subject {
    /// An instance.
    Instance(Arc<Instance>),
    /// A service entry.
    Service(Arc<ServiceEntry>),
    /// A service, as a whole.
    Protection(Arc<ServiceKey>),
    /// A group entry.
    Group(Arc<GroupEntry>),
}

/// One change. Each has a revision of its own, one more than the change before.
#[derive(Clone, Debug)]
pub struct Event {
    /// Names it in the event log.
    pub id: Uuid,
    /// The revision it made.
    pub revision: u64,
    /// When.
    pub time: Time,
    /// What.
    pub kind: EventKind,
    /// To what.
    pub subject: Subject,
    /// By whom and why.
    pub cause: Cause,
}

impl Event {
    /// The tenant it belongs to.
    pub fn tenant(&self) -> &str {
        match &self.subject {
            Subject::Instance(instance) => &instance.key.tenant,
            Subject::Service(entry) => &entry.key.tenant,
            Subject::Protection(key) => &key.tenant,
            Subject::Group(entry) => &entry.key.tenant,
        }
    }

    /// Whether its subject is gone.
    pub fn is_removal(&self) -> bool {
        matches!(
            self.kind,
            EventKind::InstanceDeregistered
                | EventKind::InstanceExpired
                | EventKind::ServiceDeleted
                | EventKind::GroupDeleted
        )
    }
}
