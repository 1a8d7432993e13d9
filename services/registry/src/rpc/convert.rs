//! Between messages and the model.

use serde_json::{Map, Value, json};
use sker_proto::registry::{Instance as Message, Reset, Synced, watch_response::Event};

use crate::app::{Step, model::Instance};

/// A message as the body that a REST client would send, so that both are read by the same rules. What a message leaves
/// empty was not said.
pub(super) fn to_body(message: Message) -> Value {
    let mut body = Map::new();
    let texts = [
        ("serviceName", message.service_name),
        ("groupName", message.group_name),
        ("hostAddress", message.host_address),
        ("contextPath", message.context_path),
        ("instanceStatus", message.instance_status),
        ("healthStatus", message.health_status),
        ("clientType", message.client_type),
        ("metadataJson", message.metadata_json),
    ];
    for (field, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
        body.insert(field.to_owned(), text.into());
    }
    let numbers = [
        ("weightValue", message.weight_value),
        ("heartbeatIntervalSeconds", message.heartbeat_interval_seconds),
        ("heartbeatTimeoutSeconds", message.heartbeat_timeout_seconds),
        ("evictAfterSeconds", message.evict_after_seconds),
    ];
    for (field, number) in numbers.into_iter().filter(|(_, number)| *number != 0) {
        body.insert(field.to_owned(), number.into());
    }
    body.insert("portNumber".to_owned(), message.port_number.into());
    body.insert("tags".to_owned(), json!(message.tags));
    if let Some(ephemeral) = message.ephemeral {
        body.insert("ephemeral".to_owned(), ephemeral.into());
    }
    Value::Object(body)
}

/// An instance as a message.
pub(super) fn to_message(instance: &Instance) -> Message {
    let (key, spec) = (&instance.key, &instance.spec);
    Message {
        instance_id: instance.id.to_string(),
        tenant_id: key.tenant.to_string(),
        group_name: key.group.to_string(),
        service_name: key.service.to_string(),
        host_address: spec.host.clone(),
        port_number: u32::from(spec.port),
        context_path: spec.context_path.clone(),
        instance_status: instance.status().as_str().to_owned(),
        health_status: instance.health().as_str().to_owned(),
        weight_value: spec.weight,
        client_type: spec.client_type.clone(),
        metadata_json: Value::Object(spec.metadata.clone()).to_string(),
        tags: spec.tags.clone(),
        ephemeral: Some(spec.ephemeral),
        heartbeat_interval_seconds: spec.heartbeat_interval_seconds,
        heartbeat_timeout_seconds: spec.heartbeat_timeout_seconds,
        evict_after_seconds: spec.evict_after_seconds,
        active_connections: instance.lease.active_connections(),
        revision: instance.revision,
        registered_at_us: sker_types::to_micros(instance.registered_at),
        last_heartbeat_at_us: sker_types::to_micros(instance.lease.seen_at()),
        trusted: instance.trusted,
    }
}

/// A step as a message.
pub(super) fn to_event(step: Step) -> Event {
    match step {
        Step::Reset => Event::Reset(Reset {}),
        Step::Upserted(instance) => Event::Upserted(to_message(&instance)),
        Step::Removed(instance) => Event::Removed(to_message(&instance)),
        Step::Synced => Event::Synced(Synced {}),
    }
}
