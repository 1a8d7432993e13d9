use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sker_auth::TokenKeys;
use sker_config::{CommonArgs, Environment, Faults, Layers, RawConfig};
use sker_runtime::{GrpcConfig, HttpConfig, ShutdownConfig, program::ServiceConfig};
use sker_telemetry::TelemetryConfig;
use url::Url;

use crate::{SERVICE, VERSION, engines::openai::OpenAiOptions};

const DEFAULTS: &str = include_str!("../default.toml");

/// The flat names.
const FLAT: &[(&str, &str)] = &[
    ("SKER_ENV", "environment"),
    ("NODE_ENV", "environment"),
    ("JWT_SECRET", "jwt_secret"),
    ("BROKER_PORT", "http.port"),
    ("AI_TASK_TIMEOUT", "worker.task_timeout_ms"),
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

#[derive(Deserialize)]
struct Raw {
    environment: Environment,
    jwt_secret: SecretString,
    data_dir: PathBuf,
    http: HttpConfig,
    grpc: GrpcConfig,
    shutdown: ShutdownConfig,
    telemetry: TelemetryConfig,
    registration: RawRegistration,
    worker: RawWorker,
    engines: RawEngines,
}

#[derive(Deserialize)]
struct RawRegistration {
    advertise_host: Option<String>,
}

#[derive(Deserialize)]
struct RawWorker {
    slots: usize,
    lease_ms: u64,
    task_timeout_ms: u64,
}

#[derive(Deserialize)]
struct RawEngines {
    default: String,
    local: RawLocal,
    openai: RawOpenAi,
}

#[derive(Deserialize)]
struct RawLocal {
    threads: usize,
    warm_up: bool,
}

#[derive(Deserialize)]
struct RawOpenAi {
    base_url: Option<String>,
    api_key: Option<SecretString>,
    model: Option<String>,
    first_token_timeout_ms: u64,
    idle_timeout_ms: u64,
    total_timeout_ms: u64,
    longest_wait_ms: u64,
    waits: u32,
    max_input_bytes: usize,
    max_output_bytes: usize,
    prompt_price: f64,
    completion_price: f64,
}

impl RawConfig for Raw {
    type Valid = Config;

    fn validate(self, faults: &mut Faults) -> Option<Config> {
        if let Err(error) = TokenKeys::hs256(&self.jwt_secret) {
            let message = error.fields().first().map_or(error.message(), |field| field.message.as_str());
            faults.add("jwt_secret", message);
        }
        let is_example = sker_auth::is_documented_example(&self.jwt_secret);
        let refused = self.environment.is_production() && is_example;
        faults.check(!refused, "jwt_secret", "is a documented example, which production refuses");
        faults.check(!self.data_dir.as_os_str().is_empty(), "data_dir", "must not be empty");
        self.http.validate("http", faults);
        self.grpc.validate("grpc", faults);
        self.shutdown.validate("shutdown", faults);
        for (key, message) in self.telemetry.faults() {
            faults.add(&format!("telemetry.{key}"), message);
        }
        let worker = self.worker.validate(faults);
        let engines = self.engines.validate(faults);
        Some(Config {
            environment: self.environment,
            jwt_secret: self.jwt_secret,
            data_dir: self.data_dir,
            http: self.http,
            grpc: self.grpc,
            shutdown: self.shutdown,
            telemetry: self.telemetry,
            advertise_host: self.registration.advertise_host.filter(|host| !host.is_empty()),
            worker,
            engines: engines?,
        })
    }
}

impl RawWorker {
    fn validate(&self, faults: &mut Faults) -> WorkerConfig {
        faults.check((1..=10_000).contains(&self.slots), "worker.slots", "must be within 1 and 10000");
        let lease = (1_000..=600_000).contains(&self.lease_ms);
        faults.check(lease, "worker.lease_ms", "must be within 1000 and 600000");
        let timeout = (100..=86_400_000).contains(&self.task_timeout_ms);
        faults.check(timeout, "worker.task_timeout_ms", "must be within 100 and 86400000 (a day)");
        WorkerConfig {
            slots: self.slots,
            lease: Duration::from_millis(self.lease_ms),
            task_timeout: Duration::from_millis(self.task_timeout_ms),
        }
    }
}

impl RawEngines {
    fn validate(self, faults: &mut Faults) -> Option<EnginesConfig> {
        let known = matches!(self.default.as_str(), "local" | "openai");
        faults.check(known, "engines.default", "must be local or openai");
        faults.check(self.local.threads <= 256, "engines.local.threads", "must be at most 256");
        let wanted = self.default == "openai";
        let configured = self.openai.base_url.as_deref().is_some_and(|url| !url.is_empty());
        // Another engine than the one chosen would be a silent fallback.
        faults.check(configured || !wanted, "engines.openai.base_url", "is required when engines.default is openai");
        let openai = if configured { Some(self.openai.validate(faults)?) } else { None };
        let threads = match self.local.threads {
            0 => std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            threads => NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN),
        };
        Some(EnginesConfig { openai_is_default: wanted, local_threads: threads, warm_up: self.local.warm_up, openai })
    }
}

impl RawOpenAi {
    fn validate(self, faults: &mut Faults) -> Option<OpenAiOptions> {
        let key = |name: &str| format!("engines.openai.{name}");
        let url = self.base_url.as_deref().and_then(|url| Url::parse(url).ok());
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        faults.check(url.is_some(), &key("base_url"), "must be an address that begins with http:// or https://");
        // An address is shown where a key never is.
        let bare = url.as_ref().is_none_or(|url| url.username().is_empty() && url.password().is_none());
        faults.check(bare, &key("base_url"), "must hold no credentials; engines.openai.api_key does");
        let model = self.model.unwrap_or_default();
        faults.check(!model.is_empty(), &key("model"), "must name a model");
        for (name, value) in [
            ("first_token_timeout_ms", self.first_token_timeout_ms),
            ("idle_timeout_ms", self.idle_timeout_ms),
            ("total_timeout_ms", self.total_timeout_ms),
        ] {
            faults.check((10..=86_400_000).contains(&value), &key(name), "must be within 10 and 86400000");
        }
        faults.check(self.longest_wait_ms <= 600_000, &key("longest_wait_ms"), "must be at most 600000");
        faults.check(self.waits <= 100, &key("waits"), "must be at most 100");
        faults.check(self.max_input_bytes >= 1_000, &key("max_input_bytes"), "must be at least 1000");
        faults.check(self.max_output_bytes >= 1_000, &key("max_output_bytes"), "must be at least 1000");
        for (name, value) in [("prompt_price", self.prompt_price), ("completion_price", self.completion_price)] {
            faults.check(value.is_finite() && value >= 0.0, &key(name), "must not be negative");
        }
        Some(OpenAiOptions {
            api_key: self.api_key.filter(|key| !key.expose_secret().is_empty()),
            first_token_timeout: Duration::from_millis(self.first_token_timeout_ms),
            idle_timeout: Duration::from_millis(self.idle_timeout_ms),
            total_timeout: Duration::from_millis(self.total_timeout_ms),
            longest_wait: Duration::from_millis(self.longest_wait_ms),
            waits: self.waits,
            max_input_bytes: self.max_input_bytes,
            max_output_bytes: self.max_output_bytes,
            prompt_price: self.prompt_price,
            completion_price: self.completion_price,
            ..OpenAiOptions::new(url?, model)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(overrides: &[(&str, &str)]) -> Result<Config, Faults> {
        let mut layers = layers();
        layers.overrides.push(("jwt_secret".to_owned(), "a secret of the broker's own tests".to_owned()));
        layers.overrides.extend(overrides.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        Config::load(&layers)
    }

    #[test]
    fn the_defaults_are_right_but_for_the_secret() {
        let config = load(&[]).unwrap();
        assert_eq!((config.http.port, config.grpc.port), (3002, 50052));
        assert_eq!(config.worker.task_timeout, Duration::from_secs(600));
        assert!(config.engines.openai.is_none());
        assert_eq!(Config::load(&layers()).unwrap_err().len(), 1);
    }

    #[test]
    fn openai_as_the_default_needs_a_server_and_a_model() {
        let faults = load(&[("engines.default", "openai")]).unwrap_err();
        assert!(faults.to_string().contains("engines.openai.base_url"), "{faults}");
        let faults = load(&[("engines.openai.base_url", "ftp://x"), ("worker.slots", "0")]).unwrap_err();
        let text = faults.to_string();
        for key in ["engines.openai.base_url", "engines.openai.model", "worker.slots"] {
            assert!(text.contains(key), "{text}");
        }
        let server =
            [("engines.openai.base_url", "https://me:hunter2@example.org/v1"), ("engines.openai.model", "small")];
        let text = load(&server).unwrap_err().to_string();
        assert!(text.contains("engines.openai.base_url") && !text.contains("hunter2"), "{text}");
        let server = [
            ("engines.default", "openai"),
            ("engines.openai.base_url", "http://127.0.0.1:11434/v1"),
            ("engines.openai.model", "small"),
        ];
        assert!(load(&server).unwrap().engines.openai_is_default);
    }
}
