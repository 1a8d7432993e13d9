//! The store's configuration.

mod raw;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use secrecy::SecretString;
use sker_bus::AmqpConfig;
use sker_cache::RedisConfig;
use sker_config::{CommonArgs, Environment, Faults, Layers};
use sker_db::DbConfig;
use sker_runtime::{GrpcConfig, HttpConfig, ShutdownConfig, program::ServiceConfig};
use sker_telemetry::TelemetryConfig;

use self::raw::Raw;
use crate::{SERVICE, VERSION, app::Settings, http::TrustedProxies};

const DEFAULTS: &str = include_str!("../../default.toml");

/// Flat names. Of two for one key the first wins.
const FLAT: &[(&str, &str)] = &[
    ("JWT_SECRET", "jwt_secret"),
    ("STORE_PORT", "http.port"),
    ("STORE_GRPC_PORT", "grpc.port"),
    ("DATABASE_URL", "database.url"),
    ("PG_HOST", "database.host"),
    ("PG_PORT", "database.port"),
    ("PG_USER", "database.user"),
    ("PG_PASSWORD", "database.password"),
    ("PG_DATABASE", "database.name"),
    ("RABBITMQ_URL", "rabbitmq.url"),
    ("REDIS_URL", "redis.url"),
    ("REDIS_HOST", "redis.host"),
    ("REGISTRY_GRPC_URL", "registration.registry_url"),
    ("SKER_ADMIN_EMAIL", "admin.email"),
    ("SKER_ADMIN_PASSWORD", "admin.password"),
    ("AI_TASK_TIMEOUT", "tasks.timeout_ms"),
];

/// The configuration of the service, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// What it runs for.
    pub environment: Environment,
    /// Signs tokens and cursors.
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
    /// Where messages go, when it runs as a program of its own.
    pub rabbitmq: AmqpConfig,
    /// Where realtime channels are kept and replicas share what they may forget, when it runs as a program of its own.
    pub redis: RedisConfig,
    /// The registry's gRPC address, when it runs as a program of its own.
    pub registry_url: String,
    /// What others reach it by, when it is not the address that it listens on.
    pub advertise_host: Option<String>,
    /// The first administrator.
    pub admin: AdminConfig,
    /// What was configured and is not right, but does not stop the start.
    pub warnings: Vec<String>,
    pub(crate) trusted_proxies: TrustedProxies,
    pub(crate) settings: Settings,
}

/// The first administrator, made when there is none.
#[derive(Clone, Debug)]
pub struct AdminConfig {
    /// The email address to sign in with.
    pub email: String,
    /// The password; without one it is made up.
    pub password: Option<SecretString>,
    /// Where a password that was made up is written, mode 0600.
    pub password_file: Option<PathBuf>,
}

/// The layers of this service, without an environment, a file or flags.
pub fn layers() -> Layers {
    Layers::new(SERVICE, DEFAULTS, FLAT)
}

impl ServiceConfig for Config {
    const SERVICE: &'static str = SERVICE;
    const VERSION: &'static str = VERSION;
    const ABOUT: &'static str = "Data store of users, projects, nodes, connections and AI tasks";

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
        <Config as ServiceConfig>::load(layers)
    }
}
