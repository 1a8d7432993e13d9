//! The seed's configuration keys, by their own names. Where the seed and we have a key for the same thing, the one from
//! the higher layer counts (flags over environment over file over defaults), and on one layer the seed's.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sker_config::Faults;
use sker_db::DbConfig;
use sker_runtime::HttpConfig;

use super::dsn;
use crate::store::EventPolicy;

/// A registration waits at most so long to find out that the database is away, and then goes on without it.
const ACQUIRE_TIMEOUT_MS: u64 = 3_000;

/// The seed's `server`.
#[derive(Default, Deserialize)]
pub(super) struct RawServer {
    #[serde(default)]
    http: RawServerHttp,
}

#[derive(Default, Deserialize)]
struct RawServerHttp {
    host: Option<String>,
    port: Option<u16>,
    #[serde(rename = "enableCORS")]
    enable_cors: Option<bool>,
    #[serde(rename = "enableGzip")]
    enable_gzip: Option<bool>,
}

impl RawServer {
    pub(super) fn apply(self, http: &mut HttpConfig, faults: &Faults, warnings: &mut Vec<String>) {
        let RawServerHttp { host, port, enable_cors, enable_gzip } = self.http;
        if let Some(host) = host.filter(|_| counts(faults, "server.http.host", "http.host")) {
            http.host = host;
        }
        if let Some(port) = port.filter(|_| counts(faults, "server.http.port", "http.port")) {
            http.port = port;
        }
        for (key, on) in [("server.http.enableCORS", enable_cors), ("server.http.enableGzip", enable_gzip)] {
            if on == Some(true) {
                warnings.push(format!("{key} has no effect here; the gateway does it"));
            }
        }
    }
}

/// The seed's `healthCheck`: checks of persistent instances by the registry.
#[derive(Default, Deserialize)]
pub(super) struct RawHealthCheck {
    enabled: Option<bool>,
    #[serde(rename = "interval")]
    _interval: Option<String>,
    #[serde(rename = "timeout")]
    _timeout: Option<String>,
    #[serde(rename = "concurrentChecks")]
    _concurrent_checks: Option<u32>,
}

impl RawHealthCheck {
    pub(super) fn apply(&self, warnings: &mut Vec<String>) {
        if self.enabled == Some(true) {
            warnings.push("healthCheck has no effect: this version does not check persistent instances".to_owned());
        }
    }
}

/// The seed's `external`.
#[derive(Default, Deserialize)]
pub(super) struct RawExternal {
    enabled: Option<bool>,
    #[serde(rename = "enableFailover")]
    _enable_failover: Option<bool>,
    #[serde(rename = "enableSync")]
    _enable_sync: Option<bool>,
}

impl RawExternal {
    pub(super) fn apply(&self, faults: &mut Faults) {
        let wanted = self.enabled == Some(true);
        faults.check(!wanted, "external.enabled", "cannot be on: this version does not connect to external registries");
    }
}

/// `event`: ours and the seed's.
#[derive(Deserialize)]
pub(super) struct RawEvent {
    buffer_size: usize,
    persistence: bool,
    retention_days: u64,
    enabled: Option<bool>,
    #[serde(rename = "bufferSize")]
    seed_buffer_size: Option<usize>,
    #[serde(rename = "workerCount")]
    worker_count: Option<u32>,
    #[serde(rename = "enablePersistence")]
    seed_persistence: Option<bool>,
}

impl RawEvent {
    pub(super) fn validate(self, faults: &mut Faults, warnings: &mut Vec<String>) -> (usize, EventPolicy) {
        let seed_buffer = self.seed_buffer_size.filter(|_| counts(faults, "event.bufferSize", "event.buffer_size"));
        let capacity = seed_buffer.unwrap_or(self.buffer_size);
        faults.check((1..=10_000_000).contains(&capacity), "event.buffer_size", "must be within 1 and 10000000");
        faults.check((1..=3_650).contains(&self.retention_days), "event.retention_days", "must be within 1 and 3650");
        if self.worker_count.is_some() {
            warnings.push("event.workerCount has no effect: events are not handed to workers".to_owned());
        }
        let seed_stored =
            self.seed_persistence.filter(|_| counts(faults, "event.enablePersistence", "event.persistence"));
        let stored = seed_stored.unwrap_or(self.persistence) && self.enabled.unwrap_or(true);
        (capacity, EventPolicy { stored, retention: Duration::from_secs(self.retention_days * 86_400) })
    }
}

/// `database`: ours and the seed's.
#[derive(Deserialize)]
pub(super) struct RawDatabase {
    url: SecretString,
    schema: Option<String>,
    max_connections: u32,
    #[serde(rename = "type")]
    kind: Option<String>,
    dsn: Option<SecretString>,
    #[serde(rename = "maxOpenConns")]
    max_open_connections: Option<u32>,
    #[serde(rename = "maxIdleConns")]
    max_idle_connections: Option<u32>,
}

impl RawDatabase {
    pub(super) fn validate(self, faults: &mut Faults, warnings: &mut Vec<String>) -> Option<DbConfig> {
        let seed = self.dsn.filter(|dsn| !dsn.expose_secret().is_empty());
        let seed = seed.filter(|_| counts(faults, "database.dsn", "database.url"));
        let (key, given) = match &seed {
            Some(dsn) => ("database.dsn", dsn),
            None => ("database.url", &self.url),
        };
        let kind = self.kind.filter(|_| seed.is_some());
        let url = match dsn::read(kind.as_deref(), given.expose_secret()) {
            Ok(url) => url,
            Err(message) => {
                faults.add(key, message);
                return None;
            }
        };
        if self.max_idle_connections.is_some() {
            warnings.push("database.maxIdleConns has no effect: idle connections are closed after a while".to_owned());
        }
        let connections = self
            .max_open_connections
            .filter(|_| counts(faults, "database.maxOpenConns", "database.max_connections"))
            .unwrap_or(self.max_connections);
        faults.check((1..=1_000).contains(&connections), "database.max_connections", "must be within 1 and 1000");
        let is_file = url.starts_with("sqlite:");
        // Readers of one file gain nothing beyond a few.
        let max_connections = if is_file { connections.min(16) } else { connections };
        let has_schemas = url.starts_with("postgres");
        let named = self.schema.filter(|schema| !schema.is_empty());
        faults.check(named.is_none() || has_schemas, "database.schema", "is for PostgreSQL only");
        // One schema per service, so that a server may be shared.
        let schema = has_schemas.then(|| named.unwrap_or_else(|| crate::SERVICE.to_owned()));
        let config = DbConfig { schema, max_connections, acquire_timeout_ms: ACQUIRE_TIMEOUT_MS, ..DbConfig::new(url) };
        Some(config.of_service(crate::SERVICE))
    }
}

/// Whether the seed's key counts where both may be given.
fn counts(faults: &Faults, seed: &str, ours: &str) -> bool {
    let rank = |key: &str| match faults.source_of(key) {
        source if source.starts_with("flag") => 3,
        source if source.starts_with("environment variable") => 2,
        source if source.starts_with("file") => 1,
        _ => 0,
    };
    rank(seed) >= rank(ours)
}
