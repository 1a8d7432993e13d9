use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use sker_types::Time;
use utoipa::ToSchema;

/// What is registered, in numbers.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = InstanceStats)]
pub struct InstanceStats {
    /// All.
    pub total: usize,
    /// Those that live by heartbeats.
    pub ephemeral: usize,
    /// Those that do not.
    pub persistent: usize,
    /// By `instanceStatus`.
    pub by_status: BTreeMap<&'static str, usize>,
    /// By `healthStatus`.
    pub by_health: BTreeMap<&'static str, usize>,
    /// By group.
    pub by_group: BTreeMap<String, usize>,
}

/// How well it is, in numbers.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = HealthStats)]
pub struct HealthStats {
    /// Healthy instances.
    pub healthy: usize,
    /// Unhealthy ones.
    pub unhealthy: usize,
    /// Those of which nobody has said.
    pub unknown: usize,
    /// The share of healthy ones, 0..=1; 1 when there are none.
    pub healthy_ratio: f64,
    /// Services without a healthy instance, as `group/service`.
    pub services_without_healthy_instance: Vec<String>,
    /// Services whose vanished instances are kept, as `group/service`.
    pub protected_services: Vec<String>,
}

/// The whole in numbers.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Stats)]
pub struct Stats {
    /// Whose.
    pub tenant_id: String,
    /// Groups.
    pub groups: usize,
    /// Services.
    pub services: usize,
    /// Instances.
    pub instances: usize,
    /// Healthy ones among them.
    pub healthy_instances: usize,
}

/// A stored event.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Event)]
pub struct EventView {
    /// Names it.
    pub event_id: String,
    /// What happened, for example `INSTANCE_REGISTERED`.
    pub event_type: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub event_time: Time,
    /// Whose.
    pub tenant_id: String,
    /// In which group.
    pub group_name: String,
    /// To which service; empty for events of a group.
    pub service_name: String,
    /// To which instance; empty for events of a service or a group.
    pub instance_id: String,
    /// Its address; empty for events of a service or a group.
    pub host_address: String,
    /// Its port; 0 for events of a service or a group.
    pub port_number: u16,
    /// Who did it: a user's id, a service's name, `anonymous`, or `registry`.
    pub actor: String,
    /// Why, in a few words.
    pub reason: String,
    /// The request that did it, as in the logs.
    pub request_id: String,
    /// The revision that it made.
    pub revision: String,
    /// What it was about, as it was afterwards, or at last when it is gone.
    #[schema(value_type = Object)]
    pub data: Value,
}
