use serde::Serialize;
use serde_json::{Map, Value, json};
use sker_error::{Error, FieldError, Result};
use utoipa::ToSchema;

use super::Kind;

/// What this version can do, in the seed's words where it has them.
pub const CAPABILITIES: [&str; 2] = ["health_monitoring", "connection_testing"];

/// Metadata that tells the platform what this service is; nobody else may set it.
const RESERVED: [&str; 4] = ["routes", "version", "supported_databases", "capabilities"];

/// The most entries, and the most bytes as JSON, of a metadata update.
const MOST_ENTRIES: usize = 64;
const MOST_BYTES: usize = 16 * 1024;

/// Where this service is, and what it is.
#[derive(Clone, Debug)]
pub struct ServiceAddress {
    /// The host that others reach it at.
    pub host: String,
    /// Its HTTP port.
    pub port: u16,
    /// Its version.
    pub version: &'static str,
}

/// `GET /api/database/registry/status`: the seed's registration object, and where the registration stands.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RegistrationView {
    /// Name and port.
    #[schema(example = "database-service-8089")]
    pub service_id: String,
    /// `database-service`.
    pub service_name: String,
    /// `database`.
    pub service_type: String,
    /// Its version.
    pub version: String,
    /// The host that others reach it at.
    pub host: String,
    /// Its HTTP port.
    pub port: u16,
    /// Where its health is.
    pub health_check_url: String,
    /// What it can do, and what was added by `/registry/update`.
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
    /// What the gateway sends here.
    #[schema(value_type = Vec<Object>)]
    pub routes: Vec<Value>,
    /// Whether the registry knows this instance, as far as this service knows.
    pub registered: bool,
    /// The id that the registry gave it.
    pub instance_id: Option<String>,
    /// Registrations since the start; more than one means that the registry had forgotten it.
    pub registrations: u64,
    /// Why the last call of the registry failed; `null` after one that succeeded.
    pub last_error: Option<String>,
}

/// What the gateway is asked to send here. Reads are for any user; this service asks for more where more is needed.
pub fn routes() -> Vec<Value> {
    vec![json!({
        "path": "/api/database/*",
        "methods": ["GET", "POST", "PUT", "DELETE"],
        "load_balancer": "round_robin",
        "auth": "user",
    })]
}

impl RegistrationView {
    /// The object for a registration whose metadata in the registry is `metadata`.
    pub fn new(address: &ServiceAddress, mut metadata: Map<String, Value>) -> Self {
        let routes = match metadata.remove("routes") {
            Some(Value::Array(routes)) => routes,
            _ => Vec::new(),
        };
        metadata.remove("version");
        RegistrationView {
            service_id: format!("database-service-{}", address.port),
            service_name: "database-service".to_owned(),
            service_type: "database".to_owned(),
            version: address.version.to_owned(),
            host: address.host.clone(),
            port: address.port,
            health_check_url: format!("http://{}/health", authority(&address.host, address.port)),
            metadata,
            routes,
            registered: false,
            instance_id: None,
            registrations: 0,
            last_error: None,
        }
    }

    /// What is added to the metadata that every service has.
    pub fn own_metadata(supported: &[Kind]) -> Map<String, Value> {
        let supported: Vec<&str> = supported.iter().map(|kind| kind.as_str()).collect();
        Map::from_iter([
            ("service_type".to_owned(), json!("database")),
            ("supported_databases".to_owned(), json!(supported)),
            ("capabilities".to_owned(), json!(CAPABILITIES)),
        ])
    }
}

/// An IPv6 address stands in brackets in a URL.
fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Applies a metadata update (JSON merge patch, RFC 7396, one level deep) to what is registered.
///
/// # Errors
/// `validation_failed` when it touches what only this service may say, or is too large.
pub fn metadata_patch(mut metadata: Map<String, Value>, patch: Map<String, Value>) -> Result<Map<String, Value>> {
    let fault = |key: &str, code: &str, message: &str| FieldError::new(format!("metadata.{key}"), code, message);
    let mut faults = Vec::new();
    for (key, value) in patch {
        if RESERVED.contains(&key.as_str()) {
            faults.push(fault(&key, "not_allowed", "this entry cannot be changed"));
        } else if value.is_null() {
            metadata.remove(&key);
        } else if matches!(value, Value::Array(_) | Value::Object(_)) {
            faults.push(fault(&key, "invalid_type", "must be a string, a number, true or false"));
        } else {
            metadata.insert(key, value);
        }
    }
    let bytes = Value::Object(metadata.clone()).to_string().len();
    if metadata.len() > MOST_ENTRIES || bytes > MOST_BYTES {
        let message = format!("must have at most {MOST_ENTRIES} entries and {MOST_BYTES} bytes");
        faults.push(FieldError::new("metadata", "too_long", message));
    }
    if faults.is_empty() { Ok(metadata) } else { Err(Error::validation(faults)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_patch_adds_changes_and_removes_entries() {
        let patched = metadata_patch(
            object(json!({"region": "a", "team": "x", "routes": []})),
            object(json!({"region": "b", "team": null, "weight": 3})),
        );
        assert_eq!(patched.unwrap(), object(json!({"region": "b", "weight": 3, "routes": []})));
    }

    #[test]
    fn a_patch_cannot_claim_routes() {
        let patch = object(json!({"routes": "[]", "capabilities": [], "nested": {}}));
        let error = metadata_patch(Map::new(), patch).unwrap_err();
        let mut named: Vec<&str> = error.fields().iter().map(|field| field.field.as_str()).collect();
        named.sort_unstable();
        assert_eq!(named, ["metadata.capabilities", "metadata.nested", "metadata.routes"]);
    }
}
