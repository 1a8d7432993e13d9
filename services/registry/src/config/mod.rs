//! The registry's configuration: our own keys, and the seed's beside them.

mod dsn;
mod seed;

use std::{path::PathBuf, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sker_auth::TokenKeys;
use sker_config::{CommonArgs, Environment, Faults, Layers, RawConfig};
use sker_db::DbConfig;
use sker_runtime::{GrpcConfig, HttpConfig, ShutdownConfig, program::ServiceConfig};
use sker_telemetry::TelemetryConfig;

use crate::{
    SERVICE, VERSION,
    app::{AccessRules, Anonymous, Durability, engine::ExpiryRules, input::LeaseDefaults},
    store::EventPolicy,
};

const DEFAULTS: &str = include_str!("../../default.toml");

/// Flat names. Of two for one key the first wins.
const FLAT: &[(&str, &str)] = &[
    ("JWT_SECRET", "jwt_secret"),
    ("REGISTRY_DB_DSN", "database.dsn"),
    ("DATABASE_URL", "database.url"),
    ("REGISTRY_HTTP_PORT", "http.port"),
    ("REGISTRY_GRPC_PORT", "grpc.port"),
    ("REGISTRY_LOG_LEVEL", "telemetry.log.level"),
];

/// Names the configuration file when no flag does.
const CONFIG_FILE: &str = "REGISTRY_CONFIG_FILE";

/// The configuration of the service, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// What it runs for.
    pub environment: Environment,
    /// Signs and verifies tokens.
    pub jwt_secret: SecretString,
    /// Its HTTP server.
    pub http: HttpConfig,
    /// Its gRPC server.
    pub grpc: GrpcConfig,
    /// How it stops.
    pub shutdown: ShutdownConfig,
    /// How it logs.
    pub telemetry: TelemetryConfig,
    /// Its database.
    pub database: DbConfig,
    /// Who may come in.
    pub access: AccessRules,
    /// When a change is acknowledged.
    pub durability: Durability,
    /// What others reach it by, when it is not the address that it listens on.
    pub advertise_host: Option<String>,
    /// Leases of instances that do not say.
    pub lease_defaults: LeaseDefaults,
    /// When leases run out.
    pub expiry: ExpiryRules,
    /// How many changes followers may be behind.
    pub ring_capacity: usize,
    /// What becomes of events.
    pub events: EventPolicy,
    /// What was configured and is not right, but does not stop the start.
    pub warnings: Vec<String>,
}

/// The layers of this service, without an environment, a file or flags.
pub fn layers() -> Layers {
    Layers::new(SERVICE, DEFAULTS, FLAT)
}

impl ServiceConfig for Config {
    const SERVICE: &'static str = SERVICE;
    const VERSION: &'static str = VERSION;
    const ABOUT: &'static str = "Service registry: registration, discovery, watches, events";

    fn layers(args: &CommonArgs) -> Layers {
        let mut layers = Layers::from_process(SERVICE, DEFAULTS, FLAT, args);
        let named = layers.env.get(CONFIG_FILE).filter(|file| !file.is_empty()).map(PathBuf::from);
        layers.file = layers.file.or(named);
        layers
    }

    fn load(layers: &Layers) -> Result<Self, Faults> {
        sker_config::load::<Raw>(layers)
    }

    fn http(&self) -> &HttpConfig {
        &self.http
    }

    fn telemetry(&self) -> &TelemetryConfig {
        &self.telemetry
    }
}

impl Config {
    /// Loads and checks it.
    ///
    /// # Errors
    /// Every fault at once.
    pub fn load(layers: &Layers) -> Result<Self, Faults> {
        sker_config::load::<Raw>(layers)
    }
}

#[derive(Deserialize)]
struct Raw {
    environment: Environment,
    jwt_secret: SecretString,
    http: HttpConfig,
    grpc: GrpcConfig,
    shutdown: ShutdownConfig,
    telemetry: TelemetryConfig,
    database: seed::RawDatabase,
    #[serde(default)]
    auth: RawAuth,
    registry: RawRegistry,
    lease: RawLease,
    event: seed::RawEvent,
    #[serde(default)]
    server: seed::RawServer,
    #[serde(default, rename = "healthCheck")]
    health_check: seed::RawHealthCheck,
    #[serde(default)]
    external: seed::RawExternal,
}

#[derive(Default, Deserialize)]
struct RawAuth {
    enabled: Option<bool>,
}

#[derive(Deserialize)]
struct RawRegistry {
    anonymous: Option<bool>,
    durability: String,
    advertise_host: Option<String>,
}

#[derive(Deserialize)]
struct RawLease {
    heartbeat_interval_seconds: u32,
    heartbeat_timeout_seconds: u32,
    evict_after_seconds: u32,
    scan_interval_ms: u64,
    stall_after_ms: u64,
    grace_ms: u64,
    protection_limit_seconds: u64,
}

impl RawConfig for Raw {
    type Valid = Config;

    fn validate(mut self, faults: &mut Faults) -> Option<Config> {
        let mut warnings = Vec::new();
        let jwt_secret = secret(self.jwt_secret, self.environment, faults, &mut warnings);
        self.server.apply(&mut self.http, faults, &mut warnings);
        self.health_check.apply(&mut warnings);
        self.external.apply(faults);
        self.http.validate("http", faults);
        self.grpc.validate("grpc", faults);
        self.shutdown.validate("shutdown", faults);
        for (key, message) in self.telemetry.faults() {
            faults.add(&format!("telemetry.{key}"), message);
        }
        let database = self.database.validate(faults, &mut warnings);
        let access = access(self.environment, &self.auth, &self.registry, faults);
        let durability = match self.registry.durability.as_str() {
            "memory" => Durability::Memory,
            word => {
                faults.check(word == "committed", "registry.durability", "must be committed or memory");
                Durability::Committed
            }
        };
        let (ring_capacity, events) = self.event.validate(faults, &mut warnings);
        let (lease_defaults, expiry) = self.lease.validate(faults);
        Some(Config {
            environment: self.environment,
            jwt_secret,
            http: self.http,
            grpc: self.grpc,
            shutdown: self.shutdown,
            telemetry: self.telemetry,
            database: database?,
            access,
            durability,
            advertise_host: self.registry.advertise_host.filter(|host| !host.is_empty()),
            lease_defaults,
            expiry,
            ring_capacity,
            events,
            warnings,
        })
    }
}

/// The secret, or in development one that is made up: the seed's configuration has none.
fn secret(
    given: SecretString,
    environment: Environment,
    faults: &mut Faults,
    warnings: &mut Vec<String>,
) -> SecretString {
    if given.expose_secret().is_empty() && !environment.is_production() {
        warnings.push("no JWT_SECRET is set: tokens of other services are not accepted".to_owned());
        return format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple()).into();
    }
    if let Err(error) = TokenKeys::hs256(&given) {
        let message = error.fields().first().map_or(error.message(), |field| field.message.as_str());
        faults.add("jwt_secret", message);
    }
    if sker_auth::is_documented_example(&given) {
        let refused = environment.is_production();
        faults.check(!refused, "jwt_secret", "is a documented example, which production refuses");
        warnings.push("JWT_SECRET is a documented example: anybody can make tokens".to_owned());
    }
    given
}

fn access(environment: Environment, auth: &RawAuth, registry: &RawRegistry, faults: &mut Faults) -> AccessRules {
    let auth_enabled = auth.enabled.unwrap_or(environment.is_production());
    let lax = environment.is_production() && !auth_enabled;
    faults.check(!lax, "auth.enabled", "must be on in production");
    let anonymous = match registry.anonymous {
        Some(true) => Anonymous::Everybody,
        Some(false) => Anonymous::Nobody,
        None if auth_enabled => Anonymous::Nobody,
        None => Anonymous::Local,
    };
    AccessRules { auth_enabled, anonymous }
}

impl RawLease {
    fn validate(&self, faults: &mut Faults) -> (LeaseDefaults, ExpiryRules) {
        let ordered = self.heartbeat_interval_seconds >= 1
            && self.heartbeat_interval_seconds <= self.heartbeat_timeout_seconds
            && self.heartbeat_timeout_seconds <= self.evict_after_seconds;
        let message =
            "heartbeat_interval_seconds, heartbeat_timeout_seconds and evict_after_seconds must grow in this order";
        faults.check(ordered, "lease", message);
        let scans = (10..=60_000).contains(&self.scan_interval_ms);
        faults.check(scans, "lease.scan_interval_ms", "must be within 10 and 60000");
        faults.check(self.stall_after_ms >= 100, "lease.stall_after_ms", "must be at least 100");
        let defaults = LeaseDefaults {
            interval_seconds: self.heartbeat_interval_seconds,
            timeout_seconds: self.heartbeat_timeout_seconds,
            evict_seconds: self.evict_after_seconds,
        };
        let rules = ExpiryRules {
            scan_interval: Duration::from_millis(self.scan_interval_ms),
            stall_after: Duration::from_millis(self.stall_after_ms),
            grace: Duration::from_millis(self.grace_ms),
            protection_limit: Duration::from_secs(self.protection_limit_seconds),
            ..ExpiryRules::default()
        };
        (defaults, rules)
    }
}

#[cfg(test)]
mod tests;
