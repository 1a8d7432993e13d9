//! Between the model and its rows.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::entity::{event, group, instance, service};
use crate::app::{
    engine::{Registration, StoredInstance},
    model::{Event, GroupEntry, GroupKey, Health, Instance, ServiceEntry, ServiceKey, Spec, Status, Subject},
    view::{EventView, GroupView, InstanceView, ServiceEntryView},
};

pub(super) fn group_row(entry: &GroupEntry) -> group::ActiveModel {
    group::Model {
        tenant_id: entry.key.tenant.to_string(),
        group_name: entry.key.group.to_string(),
        group_description: entry.description.clone(),
        group_type: entry.group_type.clone(),
        owner_user_id: entry.owner_user_id.clone(),
        admin_user_ids: entry.admin_user_ids.clone().into(),
        read_user_ids: entry.read_user_ids.clone().into(),
        access_control_enabled: entry.access_control,
        default_protocol_type: entry.default_protocol_type.clone(),
        default_load_balance_strategy: entry.default_load_balance_strategy.clone(),
        default_health_check_url: entry.default_health_check_url.clone(),
        default_health_check_interval_seconds: signed(entry.default_health_check_interval_seconds),
        active_flag: entry.active,
        add_time: entry.created_at,
        edit_time: entry.updated_at,
        revision: revision_column(entry.revision),
    }
    .into()
}

pub(super) fn group_entry(row: group::Model) -> GroupEntry {
    GroupEntry {
        key: GroupKey::new(&row.tenant_id, &row.group_name),
        description: row.group_description,
        group_type: row.group_type,
        owner_user_id: row.owner_user_id,
        admin_user_ids: strings(row.admin_user_ids),
        read_user_ids: strings(row.read_user_ids),
        access_control: row.access_control_enabled,
        default_protocol_type: row.default_protocol_type,
        default_load_balance_strategy: row.default_load_balance_strategy,
        default_health_check_url: row.default_health_check_url,
        default_health_check_interval_seconds: unsigned(row.default_health_check_interval_seconds),
        active: row.active_flag,
        created_at: row.add_time,
        updated_at: row.edit_time,
        revision: revision(row.revision),
    }
}

pub(super) fn service_row(entry: &ServiceEntry) -> service::ActiveModel {
    service::Model {
        tenant_id: entry.key.tenant.to_string(),
        group_name: entry.key.group.to_string(),
        service_name: entry.key.service.to_string(),
        service_description: entry.description.clone(),
        protocol_type: entry.protocol_type.clone(),
        context_path: entry.context_path.clone(),
        load_balance_strategy: entry.load_balance_strategy.clone(),
        health_check_url: entry.health_check_url.clone(),
        health_check_interval_seconds: signed(entry.health_check_interval_seconds),
        protection_threshold: entry.protection_threshold,
        metadata_json: Value::Object(entry.metadata.clone()),
        tags_json: entry.tags.clone().into(),
        active_flag: entry.active,
        add_time: entry.created_at,
        edit_time: entry.updated_at,
    }
    .into()
}

pub(super) fn service_entry(row: service::Model) -> ServiceEntry {
    ServiceEntry {
        key: Arc::new(ServiceKey::new(&row.tenant_id, &row.group_name, &row.service_name)),
        description: row.service_description,
        protocol_type: row.protocol_type,
        context_path: row.context_path,
        load_balance_strategy: row.load_balance_strategy,
        health_check_url: row.health_check_url,
        health_check_interval_seconds: unsigned(row.health_check_interval_seconds),
        protection_threshold: row.protection_threshold,
        metadata: object(row.metadata_json),
        tags: strings(row.tags_json),
        active: row.active_flag,
        created_at: row.add_time,
        updated_at: row.edit_time,
    }
}

pub(super) fn instance_row(instance: &Instance) -> instance::ActiveModel {
    let (key, spec) = (&instance.key, &instance.spec);
    instance::Model {
        tenant_id: key.tenant.to_string(),
        group_name: key.group.to_string(),
        service_name: key.service.to_string(),
        host_address: spec.host.clone(),
        port_number: i32::from(spec.port),
        instance_id: instance.id,
        context_path: spec.context_path.clone(),
        instance_status: spec.status.as_str().to_owned(),
        status_override: instance.status_override.map(|status| status.as_str().to_owned()),
        health_status: instance.reported_health.as_str().to_owned(),
        weight_value: signed(spec.weight),
        client_type: spec.client_type.clone(),
        metadata_json: Value::Object(spec.metadata.clone()),
        tags_json: spec.tags.clone().into(),
        ephemeral: spec.ephemeral,
        heartbeat_interval_seconds: signed(spec.heartbeat_interval_seconds),
        heartbeat_timeout_seconds: signed(spec.heartbeat_timeout_seconds),
        evict_after_seconds: signed(spec.evict_after_seconds),
        trusted: instance.trusted,
        register_time: instance.registered_at,
        last_heartbeat_time: instance.lease.seen_at(),
        revision: revision_column(instance.revision),
    }
    .into()
}

pub(super) fn stored_instance(row: instance::Model) -> StoredInstance {
    let spec = Spec {
        host: row.host_address,
        port: u16::try_from(row.port_number).unwrap_or(0),
        context_path: row.context_path,
        status: Status::parse(&row.instance_status).unwrap_or(Status::Down),
        weight: unsigned(row.weight_value),
        client_type: row.client_type,
        metadata: object(row.metadata_json),
        tags: strings(row.tags_json),
        ephemeral: row.ephemeral,
        heartbeat_interval_seconds: unsigned(row.heartbeat_interval_seconds),
        heartbeat_timeout_seconds: unsigned(row.heartbeat_timeout_seconds),
        evict_after_seconds: unsigned(row.evict_after_seconds),
    };
    StoredInstance {
        id: row.instance_id,
        registration: Registration {
            key: ServiceKey::new(&row.tenant_id, &row.group_name, &row.service_name),
            spec,
            health: Health::parse(&row.health_status).unwrap_or(Health::Unknown),
            trusted: row.trusted,
        },
        status_override: row.status_override.as_deref().and_then(Status::parse),
        registered_at: row.register_time,
        revision: revision(row.revision),
    }
}

pub(super) fn event_row(event: &Event) -> event::ActiveModel {
    let (group, service) = match &event.subject {
        Subject::Instance(instance) => (instance.key.group.to_string(), instance.key.service.to_string()),
        Subject::Service(entry) => (entry.key.group.to_string(), entry.key.service.to_string()),
        Subject::Protection(key) => (key.group.to_string(), key.service.to_string()),
        Subject::Group(entry) => (entry.key.group.to_string(), String::new()),
    };
    let (instance_id, host_address, port_number) = match &event.subject {
        Subject::Instance(instance) => {
            (instance.id.to_string(), instance.spec.host.clone(), i32::from(instance.spec.port))
        }
        _ => (String::new(), String::new(), 0),
    };
    let data = match &event.subject {
        Subject::Instance(instance) => serde_json::to_value(InstanceView::fixed(instance)),
        Subject::Service(entry) => serde_json::to_value(ServiceEntryView::new(entry)),
        Subject::Protection(_) => Ok(Value::Object(Map::new())),
        Subject::Group(entry) => serde_json::to_value(GroupView::explicit(entry)),
    };
    event::Model {
        event_id: event.id,
        tenant_id: event.tenant().to_owned(),
        group_name: group,
        service_name: service,
        instance_id,
        host_address,
        port_number,
        event_type: event.kind.as_str().to_owned(),
        event_time: event.time,
        actor: cut(&event.cause.actor, 100),
        reason: cut(&event.cause.reason, 200),
        request_id: cut(&event.cause.request_id, 200),
        revision: revision_column(event.revision),
        // A view is made of texts, numbers, lists and maps, which are always JSON.
        event_data: data.unwrap_or_default(),
    }
    .into()
}

pub(super) fn event_view(row: event::Model) -> EventView {
    EventView {
        event_id: row.event_id.to_string(),
        event_type: row.event_type,
        event_time: row.event_time,
        tenant_id: row.tenant_id,
        group_name: row.group_name,
        service_name: row.service_name,
        instance_id: row.instance_id,
        host_address: row.host_address,
        port_number: u16::try_from(row.port_number).unwrap_or(0),
        actor: row.actor,
        reason: row.reason,
        request_id: row.request_id,
        revision: row.revision.to_string(),
        data: row.event_data,
    }
}

/// The key of an endpoint's row.
pub(super) type EndpointKey = (Arc<ServiceKey>, String, u16);

pub(super) fn endpoint(instance: &Instance) -> EndpointKey {
    (instance.key.clone(), instance.spec.host.clone(), instance.spec.port)
}

/// Revisions are microseconds since 1970 and a count: they fit for the next 290,000 years.
pub(super) fn revision_column(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

pub(super) fn revision(column: i64) -> u64 {
    u64::try_from(column).unwrap_or(0)
}

fn signed(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn unsigned(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

fn strings(value: Value) -> Vec<String> {
    serde_json::from_value(value).unwrap_or_default()
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}
