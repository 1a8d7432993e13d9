//! What the registry knows: instances, and what is said about services and groups.

mod event;
mod words;

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
pub use event::{Cause, Event, Subject};
use serde_json::{Map, Value};
use sker_types::{Time, Uuid};
pub use words::{EventKind, Health, Status};

/// The tenant of callers who name none.
pub const DEFAULT_TENANT: &str = "default";
/// The group of instances that name none.
pub const DEFAULT_GROUP: &str = "default";

/// A group of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupKey {
    /// The tenant.
    pub tenant: Arc<str>,
    /// The group's name.
    pub group: Arc<str>,
}

impl GroupKey {
    /// The key of a group.
    pub fn new(tenant: &str, group: &str) -> Self {
        GroupKey { tenant: tenant.into(), group: group.into() }
    }
}

/// A service of a group.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceKey {
    /// The tenant.
    pub tenant: Arc<str>,
    /// The group's name.
    pub group: Arc<str>,
    /// The service's name.
    pub service: Arc<str>,
}

impl ServiceKey {
    /// The key of a service.
    pub fn new(tenant: &str, group: &str, service: &str) -> Self {
        ServiceKey { tenant: tenant.into(), group: group.into(), service: service.into() }
    }

    /// The key of the service's group.
    pub fn group_key(&self) -> GroupKey {
        GroupKey { tenant: self.tenant.clone(), group: self.group.clone() }
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}/{}", self.tenant, self.group, self.service)
    }
}

/// What a client says about its instance.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// A name or an address.
    pub host: String,
    /// 1..=65535.
    pub port: u16,
    /// Prefix of the instance's paths; may be empty.
    pub context_path: String,
    /// What the instance says of itself; an operator may override it.
    pub status: Status,
    /// 1..=10000.
    pub weight: u32,
    /// `SERVICE` unless the client says otherwise.
    pub client_type: String,
    /// Whatever the client likes.
    pub metadata: Map<String, Value>,
    /// Labels to filter by.
    pub tags: Vec<String>,
    /// Lives by heartbeats.
    pub ephemeral: bool,
    /// How often heartbeats come.
    pub heartbeat_interval_seconds: u32,
    /// Without one for so long it is unhealthy.
    pub heartbeat_timeout_seconds: u32,
    /// Without one for so long it is removed.
    pub evict_after_seconds: u32,
}

/// One version of a registered instance. A change makes a new one; the lease is shared by all of them.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Made by the server, kept when the same endpoint registers again.
    pub id: Uuid,
    /// Which service it belongs to.
    pub key: Arc<ServiceKey>,
    /// What the client said.
    pub spec: Arc<Spec>,
    /// Health as registered or reported since.
    pub reported_health: Health,
    /// The operator's word; it outlives reconnects and restarts (nacos#10975).
    pub status_override: Option<Status>,
    /// The lease has run out.
    pub expired: bool,
    /// Registered by a service of the platform in the platform's group, so its routes count.
    pub trusted: bool,
    /// When it was first registered.
    pub registered_at: Time,
    /// The revision at which this version came to be.
    pub revision: u64,
    /// What heartbeats change.
    pub lease: Arc<Lease>,
    /// This version as JSON, made when it is first asked for.
    pub json: OnceLock<Bytes>,
}

impl Instance {
    /// The status that callers see.
    pub fn status(&self) -> Status {
        self.status_override.unwrap_or(self.spec.status)
    }

    /// The health that callers see.
    pub fn health(&self) -> Health {
        if self.expired { Health::Unhealthy } else { self.reported_health }
    }

    /// The same for its next version.
    pub(crate) fn next(&self) -> Instance {
        Instance { json: OnceLock::new(), ..self.clone() }
    }
}

/// What heartbeats change, without a lock and without a new version of the instance.
#[derive(Debug)]
pub struct Lease {
    renewed_ms: AtomicU64,
    seen_us: AtomicI64,
    active_connections: AtomicU32,
}

/// The lease of an instance that is being removed; it cannot be renewed any more.
const ENDED: u64 = u64::MAX;

impl Lease {
    /// A fresh lease.
    pub fn new(now_ms: u64, now: Time) -> Self {
        Lease {
            renewed_ms: AtomicU64::new(now_ms),
            seen_us: AtomicI64::new(sker_types::to_micros(now)),
            active_connections: AtomicU32::new(0),
        }
    }

    /// Renews the lease; `false` when it has ended.
    pub fn renew(&self, now_ms: u64, now: Time, active_connections: Option<u32>) -> bool {
        let renewed = self
            .renewed_ms
            .try_update(Ordering::AcqRel, Ordering::Acquire, |current| (current != ENDED).then_some(now_ms))
            .is_ok();
        if renewed {
            self.seen_us.store(sker_types::to_micros(now), Ordering::Relaxed);
            if let Some(count) = active_connections {
                self.active_connections.store(count, Ordering::Relaxed);
            }
        }
        renewed
    }

    /// How long ago it was renewed.
    pub fn age_ms(&self, now_ms: u64) -> u64 {
        match self.renewed_ms.load(Ordering::Acquire) {
            ENDED => u64::MAX,
            renewed => now_ms.saturating_sub(renewed),
        }
    }

    /// Ends the lease unless a heartbeat came in the meantime.
    pub fn end_if_older(&self, now_ms: u64, age_ms: u64) -> bool {
        self.renewed_ms
            .try_update(Ordering::AcqRel, Ordering::Acquire, |renewed| {
                (renewed != ENDED && now_ms.saturating_sub(renewed) > age_ms).then_some(ENDED)
            })
            .is_ok()
    }

    /// Takes back what a clock that was set back since has given too much.
    pub fn not_after(&self, now_ms: u64) {
        let later = |renewed| (renewed != ENDED && renewed > now_ms).then_some(now_ms);
        // Nothing to take back is no failure.
        let _ = self.renewed_ms.try_update(Ordering::AcqRel, Ordering::Acquire, later);
    }

    /// Ends the lease.
    pub fn end(&self) {
        self.renewed_ms.store(ENDED, Ordering::Release);
    }

    /// When the last heartbeat came, or the registration.
    pub fn seen_at(&self) -> Time {
        sker_types::from_micros(self.seen_us.load(Ordering::Relaxed))
    }

    /// As the last heartbeat said.
    pub fn active_connections(&self) -> u32 {
        self.active_connections.load(Ordering::Relaxed)
    }
}

/// What was said about a service, apart from its instances.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceEntry {
    /// Which service.
    pub key: Arc<ServiceKey>,
    /// For people.
    pub description: String,
    /// `HTTP`, `GRPC`, ...
    pub protocol_type: String,
    /// Prefix of its paths.
    pub context_path: String,
    /// How clients should pick.
    pub load_balance_strategy: String,
    /// Path of its health check.
    pub health_check_url: String,
    /// How often it is to be checked.
    pub health_check_interval_seconds: u32,
    /// Below this share of live leases nobody is removed; 0 is off.
    pub protection_threshold: f64,
    /// Whatever the client likes.
    pub metadata: Map<String, Value>,
    /// Labels.
    pub tags: Vec<String>,
    /// Inactive services take no registrations.
    pub active: bool,
    /// When it was made.
    pub created_at: Time,
    /// When it was last changed.
    pub updated_at: Time,
}

/// What was said about a group.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupEntry {
    /// Which group.
    pub key: GroupKey,
    /// For people.
    pub description: String,
    /// `BUSINESS` unless the client says otherwise.
    pub group_type: String,
    /// Whose it is.
    pub owner_user_id: String,
    /// Who may change it and what is in it.
    pub admin_user_ids: Vec<String>,
    /// Who may read it.
    pub read_user_ids: Vec<String>,
    /// Whether the three above are enforced.
    pub access_control: bool,
    /// For services that do not say.
    pub default_protocol_type: String,
    /// For services that do not say.
    pub default_load_balance_strategy: String,
    /// For services that do not say.
    pub default_health_check_url: String,
    /// For services that do not say.
    pub default_health_check_interval_seconds: u32,
    /// Inactive groups take no registrations.
    pub active: bool,
    /// When it was made.
    pub created_at: Time,
    /// When it was last changed.
    pub updated_at: Time,
    /// The revision of its last change.
    pub revision: u64,
}
