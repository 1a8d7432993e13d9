//! The broker's configuration.

mod outside;
mod raw;
#[cfg(test)]
mod tests;

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use secrecy::SecretString;
use sker_config::{CommonArgs, Environment, Faults, Layers};
use sker_runtime::{GrpcConfig, HttpConfig, ShutdownConfig, program::ServiceConfig};
use sker_telemetry::TelemetryConfig;

pub use self::outside::Outside;
use self::raw::Raw;
use crate::{SERVICE, VERSION, engines::openai::OpenAiOptions};

const DEFAULTS: &str = include_str!("../../default.toml");

/// The flat names.
const FLAT: &[(&str, &str)] = &[
    ("SKER_ENV", "environment"),
    ("NODE_ENV", "environment"),
    ("JWT_SECRET", "jwt_secret"),
    ("BROKER_PORT", "http.port"),
    ("AI_TASK_TIMEOUT", "worker.task_timeout_ms"),
    ("RABBITMQ_URL", "rabbitmq.url"),
    ("REDIS_URL", "redis.url"),
    ("REDIS_HOST", "redis.host"),
    ("STORE_GRPC_URL", "store.url"),
    ("REGISTRY_GRPC_URL", "registration.registry_url"),
    ("OPENAI_BASE_URL", "engines.openai.base_url"),
    ("OPENAI_API_KEY", "engines.openai.api_key"),
    ("OPENAI_MODEL", "engines.openai.model"),
];

/// The configuration of the service, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// What it runs for.
    pub environment: Environment,
    /// Signs and verifies tokens.
    pub jwt_secret: SecretString,
    /// Where the session file is kept.
    pub data_dir: PathBuf,
    /// Its HTTP server.
    pub http: HttpConfig,
    /// Its gRPC server.
    pub grpc: GrpcConfig,
    /// How it stops.
    pub shutdown: ShutdownConfig,
    /// How it logs.
    pub telemetry: TelemetryConfig,
    /// Where the rest of the platform is, when it runs as a program of its own.
    pub outside: Outside,
    /// What others reach this service by, when it is not the address that it listens on.
    pub advertise_host: Option<String>,
    /// How it works.
    pub worker: WorkerConfig,
    /// What it works with.
    pub engines: EnginesConfig,
}

/// How the broker works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerConfig {
    /// Tasks that run at a time.
    pub slots: usize,
    /// How long a claim lives without being renewed.
    pub lease: Duration,
    /// About how long it waits for a message with slots free before it asks the store for work.
    pub steal: Duration,
    /// How long a task may take that says nothing about it.
    pub task_timeout: Duration,
}

/// The engines.
#[derive(Clone, Debug)]
pub struct EnginesConfig {
    /// Whether tasks that name no engine go to `openai`.
    pub openai_is_default: bool,
    /// Threads of the local engine.
    pub local_threads: NonZeroUsize,
    /// Whether its dictionaries are loaded at the start.
    pub warm_up: bool,
    /// The OpenAI-compatible server, if there is one.
    pub openai: Option<OpenAiOptions>,
}

/// The layers of this service, without an environment, a file or flags.
pub fn layers() -> Layers {
    Layers::new(SERVICE, DEFAULTS, FLAT)
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

impl ServiceConfig for Config {
    const SERVICE: &'static str = SERVICE;
    const VERSION: &'static str = VERSION;
    const ABOUT: &'static str = "Claims AI tasks and runs them on its engines";

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
