//! Reads bodies of foreign clients: unknown fields are ignored but named, invalid ones are refused, all at once.

use serde_json::{Map, Value};
use sker_error::{Fields, Patch, Result};

use super::{
    engine::Registration,
    model::{DEFAULT_GROUP, Health, ServiceKey, Spec, Status},
};

/// Longest name of a group.
pub(super) const MAX_GROUP: usize = 100;
/// Longest name of a service.
pub(super) const MAX_SERVICE: usize = 200;
/// Longest metadata, as JSON text.
const MAX_METADATA_BYTES: usize = 64 * 1024;
const MAX_TAGS: usize = 100;
/// How deep metadata may be nested: MariaDB takes JSON of 31 levels, and an event has it within its own.
const MAX_DEPTH: usize = 20;

/// Leases of instances that do not say.
#[derive(Clone, Copy, Debug)]
pub struct LeaseDefaults {
    /// Seconds between heartbeats.
    pub interval_seconds: u32,
    /// Seconds without one until unhealthy.
    pub timeout_seconds: u32,
    /// Seconds without one until removed.
    pub evict_seconds: u32,
}

impl Default for LeaseDefaults {
    fn default() -> Self {
        LeaseDefaults { interval_seconds: 5, timeout_seconds: 15, evict_seconds: 30 }
    }
}

/// A body that was understood, and the names of the fields that mean nothing here.
#[derive(Clone, Debug)]
pub struct Understood<T> {
    /// What it says.
    pub value: T,
    /// What was ignored.
    pub ignored: Vec<String>,
}

/// Reads a registration. Whether it is trusted is not the body's to say.
pub fn registration(tenant: &str, body: Value, defaults: &LeaseDefaults) -> Result<Understood<Registration>> {
    let mut fields = Fields::new(body)?;
    let service = name(&mut fields, "serviceName", MAX_SERVICE);
    let service = fields.require("serviceName", service);
    let group = name(&mut fields, "groupName", MAX_GROUP).value().unwrap_or_else(|| DEFAULT_GROUP.to_owned());
    let host = host(&mut fields);
    let host = fields.require("hostAddress", host);
    let port = fields.integer("portNumber", 1..=65_535);
    let port = fields.require("portNumber", port);
    let context_path = fields.string("contextPath", 0..=200).value().unwrap_or_default();
    let status = word(&mut fields, "instanceStatus", Status::parse, Status::WORDS).unwrap_or(Status::Up);
    let health = word(&mut fields, "healthStatus", Health::parse, Health::WORDS);
    let weight = fields.integer("weightValue", 1..=10_000).value().unwrap_or(100);
    let client_type = fields.string("clientType", 1..=50).value().unwrap_or_else(|| "SERVICE".to_owned());
    let metadata = metadata(&mut fields).unwrap_or_default();
    let tags = tags(&mut fields).unwrap_or_default();
    let ephemeral = fields.boolean("ephemeral").value().unwrap_or(true);
    let lease = lease(&mut fields, defaults);
    let ignored = fields.finish_open()?;
    // Every fault has been reported by now, so what is required is there.
    let (Some(service), Some(host), Some(port)) = (service, host, port) else {
        return Err(sker_error::Error::invalid_request("a required field is missing"));
    };
    let spec = Spec {
        host,
        port: u16::try_from(port).unwrap_or(u16::MAX),
        context_path,
        status,
        weight: u32::try_from(weight).unwrap_or(100),
        client_type,
        metadata,
        tags,
        ephemeral,
        heartbeat_interval_seconds: lease.interval_seconds,
        heartbeat_timeout_seconds: lease.timeout_seconds,
        evict_after_seconds: lease.evict_seconds,
    };
    // A lease vouches for an instance; of one without a lease nobody knows until it is checked.
    let health = health.unwrap_or(if spec.ephemeral { Health::Healthy } else { Health::Unknown });
    let key = ServiceKey::new(tenant, &group, &service);
    Ok(Understood { value: Registration { key, spec, health, trusted: false }, ignored })
}

/// Reads `{"healthStatus"}`.
pub fn health(body: Value) -> Result<Understood<Health>> {
    let mut fields = Fields::new(body)?;
    let health = required_word(&mut fields, "healthStatus", Health::parse, Health::WORDS);
    let ignored = fields.finish_open()?;
    Ok(Understood { value: health.unwrap_or(Health::Unknown), ignored })
}

/// Reads `{"instanceStatus"}`.
pub fn status(body: Value) -> Result<Understood<Status>> {
    let mut fields = Fields::new(body)?;
    let status = required_word(&mut fields, "instanceStatus", Status::parse, Status::WORDS);
    let ignored = fields.finish_open()?;
    Ok(Understood { value: status.unwrap_or(Status::Up), ignored })
}

/// Reads the body of a heartbeat, which may be missing.
pub fn heartbeat(body: Option<Value>) -> Result<Understood<Option<u32>>> {
    let Some(body) = body else { return Ok(Understood { value: None, ignored: Vec::new() }) };
    let mut fields = Fields::new(body)?;
    let count = fields.integer("activeConnections", 0..=i64::from(u32::MAX)).value();
    let ignored = fields.finish_open()?;
    Ok(Understood { value: count.and_then(|count| u32::try_from(count).ok()), ignored })
}

/// Reads `{"instanceIds":[...]}`.
pub fn heartbeats(body: Value) -> Result<Understood<Vec<String>>> {
    let mut fields = Fields::new(body)?;
    let ids = fields.strings("instanceIds", 10_000, 1..=64);
    let ids = fields.require("instanceIds", ids);
    let ignored = fields.finish_open()?;
    Ok(Understood { value: ids.unwrap_or_default(), ignored })
}

/// A name: something visible, no control characters, and no spaces around it, which not every database tells apart.
pub(super) fn name(fields: &mut Fields, field: &str, longest: usize) -> Patch<String> {
    let read = fields.string(field, 1..=longest);
    match &read {
        Patch::Value(text) if text.trim() != text || text.is_empty() || text.chars().any(char::is_control) => {
            fields.fault(field, "invalid", "must be a name without control characters or spaces around it");
            Patch::Absent
        }
        _ => read,
    }
}

/// `Y` or `N`.
pub(super) fn flag(fields: &mut Fields, field: &str) -> Option<bool> {
    fields.one_of(field, &["Y", "N"]).value().map(|word| word == "Y")
}

/// A word of a closed set, whatever its case.
pub(super) fn word<T>(
    fields: &mut Fields,
    field: &str,
    parse: impl FnOnce(&str) -> Option<T>,
    words: &[&str],
) -> Option<T> {
    let text = fields.string(field, 1..=50).value()?;
    let parsed = parse(&text);
    if parsed.is_none() {
        fields.fault(field, "not_allowed", format!("must be one of {}", words.join(", ")));
    }
    parsed
}

/// `metadata` as an object or `metadataJson` as its text.
pub(super) fn metadata(fields: &mut Fields) -> Option<Map<String, Value>> {
    let object = fields.object("metadata").value().filter(|object| {
        let storable = !object_has_nul(object);
        if !storable {
            nul_fault(fields, "metadata");
        }
        storable
    });
    let text = fields.string("metadataJson", 0..=MAX_METADATA_BYTES).value().filter(|text| !text.trim().is_empty());
    let parsed = text.and_then(|text| match serde_json::from_str(&text) {
        Ok(Value::Object(object)) if object_has_nul(&object) => {
            nul_fault(fields, "metadataJson");
            None
        }
        Ok(Value::Object(object)) => Some(object),
        _ => {
            fields.fault("metadataJson", "invalid", "must be the text of a JSON object");
            None
        }
    });
    let chosen = agree(fields, "metadataJson", "metadata", object, parsed);
    if let Some(object) = &chosen
        && serde_json::to_string(object).map_or(0, |text| text.len()) > MAX_METADATA_BYTES
    {
        fields.fault("metadata", "too_long", format!("must have at most {MAX_METADATA_BYTES} bytes as JSON"));
    }
    if chosen.as_ref().is_some_and(|object| object.values().any(|value| is_deeper(value, MAX_DEPTH - 1))) {
        fields.fault("metadata", "too_deep", format!("must be nested at most {MAX_DEPTH} levels deep"));
    }
    chosen
}

/// `tags` as an array or `tagsJson` as its text.
pub(super) fn tags(fields: &mut Fields) -> Option<Vec<String>> {
    let list = fields.strings("tags", MAX_TAGS, 1..=128).value();
    let text = fields.string("tagsJson", 0..=20_000).value().filter(|text| !text.trim().is_empty());
    let parsed = text.and_then(|text| match serde_json::from_str::<Vec<String>>(&text) {
        Ok(tags) if tags.iter().any(|tag| tag.contains('\0')) => {
            nul_fault(fields, "tagsJson");
            None
        }
        Ok(tags) if tags.len() <= MAX_TAGS && tags.iter().all(|tag| (1..=128).contains(&tag.chars().count())) => {
            Some(tags)
        }
        _ => {
            let message = format!("must be the text of a JSON array of at most {MAX_TAGS} short strings");
            fields.fault("tagsJson", "invalid", message);
            None
        }
    });
    agree(fields, "tagsJson", "tags", list, parsed)
}

/// PostgreSQL can store no NUL character. [`Fields`] refuses it in texts; what is nested in JSON is ours to look at.
fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(object) => object_has_nul(object),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn object_has_nul(object: &Map<String, Value>) -> bool {
    object.iter().any(|(key, value)| key.contains('\0') || has_nul(value))
}

/// Whether lists and maps are nested in it to more than so many levels.
fn is_deeper(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(_) | Value::Object(_) if levels == 0 => true,
        Value::Array(items) => items.iter().any(|inner| is_deeper(inner, levels - 1)),
        Value::Object(object) => object.values().any(|inner| is_deeper(inner, levels - 1)),
        _ => false,
    }
}

fn nul_fault(fields: &mut Fields, field: &str) {
    fields.fault(field, "invalid", "must not contain the NUL character");
}

/// Both forms may be given, as in our own answers, when they say the same.
fn agree<T: PartialEq>(
    fields: &mut Fields,
    text_field: &str,
    field: &str,
    given: Option<T>,
    parsed: Option<T>,
) -> Option<T> {
    match (given, parsed) {
        (Some(given), Some(parsed)) if given != parsed => {
            fields.fault(text_field, "contradiction", format!("says something else than {field}"));
            None
        }
        (given, parsed) => given.or(parsed),
    }
}

fn required_word<T>(
    fields: &mut Fields,
    field: &str,
    parse: impl FnOnce(&str) -> Option<T>,
    words: &[&str],
) -> Option<T> {
    let parsed = word(fields, field, parse, words);
    fields.require(field, parsed.map_or(Patch::Absent, Patch::Value))
}

fn host(fields: &mut Fields) -> Patch<String> {
    let read = fields.string("hostAddress", 1..=253);
    match &read {
        Patch::Value(text) if !text.chars().all(|c| c.is_alphanumeric() || "._-:%[]".contains(c)) => {
            fields.fault("hostAddress", "invalid", "must be a host name or an IP address");
            Patch::Absent
        }
        _ => read,
    }
}

fn lease(fields: &mut Fields, defaults: &LeaseDefaults) -> LeaseDefaults {
    let mut seconds = |field: &str, most: i64| {
        fields.integer(field, 1..=most).value().and_then(|seconds| u32::try_from(seconds).ok())
    };
    let interval = seconds("heartbeatIntervalSeconds", 3_600);
    let timeout = seconds("heartbeatTimeoutSeconds", 86_400);
    let evict = seconds("evictAfterSeconds", 604_800);
    // Who names only some of the three gets others that fit them: three beats may be lost, and as many again.
    let timeout_seconds = timeout.unwrap_or_else(|| defaults.timeout_seconds.max(3 * interval.unwrap_or(0)));
    let interval_seconds = interval.unwrap_or_else(|| defaults.interval_seconds.min(timeout_seconds));
    let evict_seconds = evict.unwrap_or_else(|| defaults.evict_seconds.max(2 * timeout_seconds));
    if timeout_seconds < interval_seconds {
        fields.fault("heartbeatTimeoutSeconds", "out_of_range", "must not be less than heartbeatIntervalSeconds");
    }
    if evict_seconds < timeout_seconds {
        fields.fault("evictAfterSeconds", "out_of_range", "must not be less than heartbeatTimeoutSeconds");
    }
    LeaseDefaults { interval_seconds, timeout_seconds, evict_seconds }
}

#[cfg(test)]
mod tests;
