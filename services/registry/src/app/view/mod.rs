//! What callers see, camelCase as the seed has it.

mod numbers;

use bytes::Bytes;
pub use numbers::{EventView, HealthStats, InstanceStats, Stats};
use serde::Serialize;
use serde_json::{Map, Value};
use sker_types::Time;
use utoipa::ToSchema;

use super::{
    engine::Snapshot,
    filter::Filter,
    model::{GroupEntry, Instance, ServiceEntry},
};

/// One network endpoint of a service.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Instance)]
pub struct InstanceView {
    /// Made by the server.
    pub service_instance_id: String,
    /// The same.
    pub instance_id: String,
    /// Whose it is.
    pub tenant_id: String,
    /// The service's group.
    pub group_name: String,
    /// The service.
    pub service_name: String,
    /// A name or an address.
    pub host_address: String,
    /// The port.
    pub port_number: u16,
    /// Prefix of the instance's paths.
    pub context_path: String,
    /// `UP`, `DOWN`, `STARTING` or `OUT_OF_SERVICE`, an operator's override included.
    #[schema(example = "UP")]
    pub instance_status: &'static str,
    /// An operator's override, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_override: Option<&'static str>,
    /// `HEALTHY`, `UNHEALTHY` or `UNKNOWN`.
    #[schema(example = "HEALTHY")]
    pub health_status: &'static str,
    /// 1..=10000
    pub weight_value: u32,
    /// `SERVICE` unless the client says otherwise.
    pub client_type: String,
    /// Whatever the client likes.
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
    /// The same as text.
    pub metadata_json: String,
    /// Labels to filter by.
    pub tags: Vec<String>,
    /// The same as text.
    pub tags_json: String,
    /// Lives by heartbeats.
    pub ephemeral: bool,
    /// How often heartbeats are to come.
    pub heartbeat_interval_seconds: u32,
    /// Without one for so long it is unhealthy.
    pub heartbeat_timeout_seconds: u32,
    /// Without one for so long it is removed.
    pub evict_after_seconds: u32,
    /// Registered by a service of the platform in its group, so its routes count.
    pub trusted: bool,
    /// Grows with every change of the instance's service.
    pub revision: String,
    /// When it was first registered.
    #[schema(value_type = String, format = DateTime)]
    pub register_time: Time,
    /// When it was last heard of. Not in discovery answers, which are made once per revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_heartbeat_time: Option<Time>,
    /// As the last heartbeat said. Not in discovery answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_connections: Option<u32>,
    /// `false` when it is in memory only, because the database was away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persisted: Option<bool>,
}

impl InstanceView {
    /// An instance as a revision fixes it.
    pub fn fixed(instance: &Instance) -> Self {
        let (key, spec) = (&instance.key, &instance.spec);
        InstanceView {
            service_instance_id: instance.id.to_string(),
            instance_id: instance.id.to_string(),
            tenant_id: key.tenant.to_string(),
            group_name: key.group.to_string(),
            service_name: key.service.to_string(),
            host_address: spec.host.clone(),
            port_number: spec.port,
            context_path: spec.context_path.clone(),
            instance_status: instance.status().as_str(),
            status_override: instance.status_override.map(|status| status.as_str()),
            health_status: instance.health().as_str(),
            weight_value: spec.weight,
            client_type: spec.client_type.clone(),
            metadata: spec.metadata.clone(),
            metadata_json: text(&spec.metadata),
            tags: spec.tags.clone(),
            tags_json: text(&spec.tags),
            ephemeral: spec.ephemeral,
            heartbeat_interval_seconds: spec.heartbeat_interval_seconds,
            heartbeat_timeout_seconds: spec.heartbeat_timeout_seconds,
            evict_after_seconds: spec.evict_after_seconds,
            trusted: instance.trusted,
            revision: instance.revision.to_string(),
            register_time: instance.registered_at,
            last_heartbeat_time: None,
            active_connections: None,
            persisted: None,
        }
    }

    /// An instance with what its heartbeats last said.
    pub fn live(instance: &Instance) -> Self {
        InstanceView {
            last_heartbeat_time: Some(instance.lease.seen_at()),
            active_connections: Some(instance.lease.active_connections()),
            ..InstanceView::fixed(instance)
        }
    }
}

/// A discovery answer.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Discovery)]
pub struct DiscoveryView {
    /// The service.
    pub service_name: String,
    /// Its group.
    pub group_name: String,
    /// Opaque; per service it only grows. Also the ETag.
    pub revision: String,
    /// Too many leases have run out at once: those instances are kept, and may be dead.
    pub protected: bool,
    /// What was found.
    pub instances: Vec<InstanceView>,
}

/// The discovery answer as JSON text. Each instance is written once per version and the whole once per revision.
pub fn discovery(snapshot: &Snapshot, filter: &Filter) -> Bytes {
    if snapshot.instances.iter().all(|instance| filter.matches(instance)) {
        return snapshot.body.get_or_init(|| write(snapshot, |_| true)).clone();
    }
    write(snapshot, |instance| filter.matches(instance))
}

fn write(snapshot: &Snapshot, wanted: impl Fn(&Instance) -> bool) -> Bytes {
    let mut body = Vec::with_capacity(128 + 768 * snapshot.instances.len());
    body.extend_from_slice(b"{\"serviceName\":");
    body.extend_from_slice(text(&*snapshot.key.service).as_bytes());
    body.extend_from_slice(b",\"groupName\":");
    body.extend_from_slice(text(&*snapshot.key.group).as_bytes());
    let rest = format!(",\"revision\":\"{}\",\"protected\":{},\"instances\":[", snapshot.revision, snapshot.protected);
    body.extend_from_slice(rest.as_bytes());
    let mut separator = false;
    for instance in snapshot.instances.iter().filter(|instance| wanted(instance)) {
        if std::mem::replace(&mut separator, true) {
            body.push(b',');
        }
        body.extend_from_slice(instance.json.get_or_init(|| text(&InstanceView::fixed(instance)).into()));
    }
    body.extend_from_slice(b"]}");
    body.into()
}

fn text(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).expect("strings, numbers, lists and maps with text keys can be written as JSON")
}

/// A service.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Service)]
pub struct ServiceView {
    /// Whose it is.
    pub tenant_id: String,
    /// Its group.
    pub group_name: String,
    /// Its name.
    pub service_name: String,
    /// Made by a registration, not by hand.
    pub implicit: bool,
    /// How many instances it has.
    pub instance_count: usize,
    /// How many of them are healthy.
    pub healthy_instance_count: usize,
    /// Too many leases have run out at once; their instances are kept.
    pub protected: bool,
    /// Opaque; it only grows.
    pub revision: String,
    /// What was said about it.
    #[serde(flatten)]
    pub entry: Option<ServiceEntryView>,
}

/// What was said about a service.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ServiceEntry)]
pub struct ServiceEntryView {
    /// For people.
    pub service_description: String,
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
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
    /// The same as text.
    pub metadata_json: String,
    /// Labels.
    pub tags: Vec<String>,
    /// The same as text.
    pub tags_json: String,
    /// `Y`, or `N` when it takes no registrations.
    pub active_flag: &'static str,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub add_time: Time,
    /// When it was last changed.
    #[schema(value_type = String, format = DateTime)]
    pub edit_time: Time,
}

impl ServiceView {
    /// A service at a revision.
    pub fn new(snapshot: &Snapshot) -> Self {
        ServiceView {
            tenant_id: snapshot.key.tenant.to_string(),
            group_name: snapshot.key.group.to_string(),
            service_name: snapshot.key.service.to_string(),
            implicit: snapshot.entry.is_none(),
            instance_count: snapshot.instances.len(),
            healthy_instance_count: snapshot.healthy(),
            protected: snapshot.protected,
            revision: snapshot.revision.to_string(),
            entry: snapshot.entry.as_deref().map(ServiceEntryView::new),
        }
    }
}

impl ServiceEntryView {
    /// An entry as callers see it.
    pub fn new(entry: &ServiceEntry) -> Self {
        ServiceEntryView {
            service_description: entry.description.clone(),
            protocol_type: entry.protocol_type.clone(),
            context_path: entry.context_path.clone(),
            load_balance_strategy: entry.load_balance_strategy.clone(),
            health_check_url: entry.health_check_url.clone(),
            health_check_interval_seconds: entry.health_check_interval_seconds,
            protection_threshold: entry.protection_threshold,
            metadata: entry.metadata.clone(),
            metadata_json: text(&entry.metadata),
            tags: entry.tags.clone(),
            tags_json: text(&entry.tags),
            active_flag: flag(entry.active),
            add_time: entry.created_at,
            edit_time: entry.updated_at,
        }
    }
}

/// A group.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Group)]
pub struct GroupView {
    /// Whose it is.
    pub tenant_id: String,
    /// Its name.
    pub group_name: String,
    /// Made by a registration, not by hand.
    pub implicit: bool,
    /// What was said about it.
    #[serde(flatten)]
    pub entry: Option<GroupEntryView>,
}

/// What was said about a group.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = GroupEntry)]
pub struct GroupEntryView {
    /// For people.
    pub group_description: String,
    /// `BUSINESS` unless the client says otherwise.
    pub group_type: String,
    /// Whose it is.
    pub owner_user_id: String,
    /// Who may change it and what is in it.
    pub admin_user_ids: Vec<String>,
    /// Who may read it.
    pub read_user_ids: Vec<String>,
    /// `Y` when owner, administrators and readers are enforced.
    pub access_control_enabled: &'static str,
    /// For services that do not say.
    pub default_protocol_type: String,
    /// For services that do not say.
    pub default_load_balance_strategy: String,
    /// For services that do not say.
    pub default_health_check_url: String,
    /// For services that do not say.
    pub default_health_check_interval_seconds: u32,
    /// `Y`, or `N` when it takes no registrations.
    pub active_flag: &'static str,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub add_time: Time,
    /// When it was last changed.
    #[schema(value_type = String, format = DateTime)]
    pub edit_time: Time,
    /// Opaque; it only grows.
    pub revision: String,
}

impl GroupView {
    /// A group that only registrations name.
    pub fn implicit(tenant: &str, name: &str) -> Self {
        GroupView { tenant_id: tenant.to_owned(), group_name: name.to_owned(), implicit: true, entry: None }
    }

    /// A group that was made by hand.
    pub fn explicit(entry: &GroupEntry) -> Self {
        GroupView {
            tenant_id: entry.key.tenant.to_string(),
            group_name: entry.key.group.to_string(),
            implicit: false,
            entry: Some(GroupEntryView {
                group_description: entry.description.clone(),
                group_type: entry.group_type.clone(),
                owner_user_id: entry.owner_user_id.clone(),
                admin_user_ids: entry.admin_user_ids.clone(),
                read_user_ids: entry.read_user_ids.clone(),
                access_control_enabled: flag(entry.access_control),
                default_protocol_type: entry.default_protocol_type.clone(),
                default_load_balance_strategy: entry.default_load_balance_strategy.clone(),
                default_health_check_url: entry.default_health_check_url.clone(),
                default_health_check_interval_seconds: entry.default_health_check_interval_seconds,
                active_flag: flag(entry.active),
                add_time: entry.created_at,
                edit_time: entry.updated_at,
                revision: entry.revision.to_string(),
            }),
        }
    }
}

fn flag(on: bool) -> &'static str {
    if on { "Y" } else { "N" }
}
