//! The configuration as it is written, key by key in default.toml, and what must hold of it.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sker_auth::TokenKeys;
use sker_bus::AmqpConfig;
use sker_config::{Environment, Faults, RawConfig};
use sker_runtime::{GrpcConfig, HttpConfig, ShutdownConfig};
use sker_telemetry::TelemetryConfig;
use url::Url;

use super::{
    Config, EnginesConfig, Outside, WorkerConfig,
    outside::{RawRedis, RawStore},
};
use crate::engines::openai::OpenAiOptions;

#[derive(Deserialize)]
pub(super) struct Raw {
    environment: Environment,
    jwt_secret: SecretString,
    data_dir: PathBuf,
    http: HttpConfig,
    grpc: GrpcConfig,
    shutdown: ShutdownConfig,
    telemetry: TelemetryConfig,
    rabbitmq: AmqpConfig,
    redis: RawRedis,
    store: RawStore,
    registration: RawRegistration,
    worker: RawWorker,
    engines: RawEngines,
}

#[derive(Deserialize)]
struct RawRegistration {
    registry_url: String,
    advertise_host: Option<String>,
}

#[derive(Deserialize)]
struct RawWorker {
    slots: usize,
    lease_ms: u64,
    steal_ms: u64,
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
        let outside = Outside {
            rabbitmq: self.rabbitmq,
            redis: self.redis.into_config(),
            registry_url: self.registration.registry_url,
            store_url: self.store.url,
        };
        outside.check(self.environment, faults);
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
            outside,
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
        let steal = (50..=600_000).contains(&self.steal_ms);
        faults.check(steal, "worker.steal_ms", "must be within 50 and 600000");
        let timeout = (100..=86_400_000).contains(&self.task_timeout_ms);
        faults.check(timeout, "worker.task_timeout_ms", "must be within 100 and 86400000 (a day)");
        WorkerConfig {
            slots: self.slots,
            lease: Duration::from_millis(self.lease_ms),
            steal: Duration::from_millis(self.steal_ms),
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
