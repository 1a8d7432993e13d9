mod raw;
#[cfg(test)]
mod tests;

use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};
use sker_config::{CommonArgs, Environment, Faults, Layers, REDACTED};
use sker_db::DbConfig;
use sker_runtime::{GrpcConfig, HttpConfig, ShutdownConfig, program::ServiceConfig};
use sker_telemetry::TelemetryConfig;

use self::raw::Raw;
use crate::{
    SERVICE, VERSION,
    app::{HISTORY_LENGTH, Intervals, Target, Thresholds},
    drivers,
};

const DEFAULTS: &str = include_str!("../default.toml");

/// The flat names that clients of the seeds know.
const FLAT: &[(&str, &str)] = &[
    ("JWT_SECRET", "jwt_secret"),
    ("REGISTRY_GRPC_URL", "registration.registry_url"),
    ("DATABASE_URL", "default_targets.postgresql.url"),
    ("PG_HOST", "default_targets.postgresql.host"),
    ("PG_PORT", "default_targets.postgresql.port"),
    ("PG_USER", "default_targets.postgresql.user"),
    ("PG_PASSWORD", "default_targets.postgresql.password"),
    ("PG_DATABASE", "default_targets.postgresql.database"),
    ("ES_URL", "default_targets.elasticsearch.url"),
    ("MILVUS_URL", "default_targets.milvus.url"),
    ("REDIS_HOST", "default_targets.redis.host"),
    ("REDIS_URL", "default_targets.redis.url"),
    ("NACOS_URL", "default_targets.nacos.url"),
    ("RABBITMQ_URL", "default_targets.rabbitmq.url"),
    ("RABBITMQ_MANAGEMENT_URL", "default_targets.rabbitmq.management_url"),
    ("MYSQL_URL", "default_targets.mysql.url"),
    ("MONGODB_URL", "default_targets.mongodb.url"),
];

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
    /// Its own database.
    pub database: DbConfig,
    /// How it registers.
    pub registration: RegistrationConfig,
    /// When targets are checked.
    pub checks: Intervals,
    /// What is checked.
    pub targets: Vec<Target>,
    /// What is odd about it, to be logged.
    pub warnings: Vec<String>,
}

/// How the service registers.
#[derive(Clone, Debug, Deserialize)]
pub struct RegistrationConfig {
    /// The registry's gRPC address.
    pub registry_url: String,
    /// What others reach this service by, when it is not the address that it listens on.
    pub advertise_host: Option<String>,
}

/// The layers of this service, without an environment, a file or flags.
pub fn layers() -> Layers {
    Layers::new(SERVICE, DEFAULTS, FLAT)
}

impl ServiceConfig for Config {
    const SERVICE: &'static str = SERVICE;
    const VERSION: &'static str = VERSION;
    const ABOUT: &'static str = "Watches databases: checks, history, alerts, connection tests";

    fn layers(args: &CommonArgs) -> Layers {
        Layers::from_process(SERVICE, DEFAULTS, FLAT, args)
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

    /// What `/api/database/config` shows: no secrets, and nothing of this machine that callers need not know.
    pub fn view(&self) -> Value {
        let Thresholds { failures, successes } = self.checks.thresholds;
        let targets: Vec<Value> = self
            .targets
            .iter()
            .map(|target| json!({"name": target.name, "database_type": target.kind, "url": target.shown_url()}))
            .collect();
        json!({
            "environment": self.environment.as_str(),
            "jwt_secret": REDACTED,
            "http": {"host": self.http.host, "port": self.http.port},
            "grpc": {"host": self.grpc.host, "port": self.grpc.port},
            "registration": {
                "registry_url": sker_config::redact_text(&self.registration.registry_url),
                "advertise_host": self.registration.advertise_host,
            },
            "checks": {
                "interval_ms": millis(self.checks.usual),
                "recheck_ms": millis(self.checks.close),
                "deep_interval_ms": millis(self.checks.deep),
                "deadline_ms": millis(self.checks.deadline),
                "failures": failures,
                "successes": successes,
                "history_length": HISTORY_LENGTH,
            },
            "supported_databases": drivers::all().kinds().collect::<Vec<_>>(),
            "targets": targets,
        })
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
