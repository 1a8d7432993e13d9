//! The configuration as it is written, key by key in default.toml, and what must hold of it.

use std::{path::PathBuf, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sker_auth::TokenKeys;
use sker_bus::AmqpConfig;
use sker_cache::RedisConfig;
use sker_config::{Environment, Faults, RawConfig};
use sker_db::DbConfig;
use sker_runtime::{GrpcConfig, HttpConfig, ShutdownConfig};
use sker_telemetry::TelemetryConfig;
use sker_traffic::Backoff;

use super::{AdminConfig, Config};
use crate::{
    app::{Settings, SignInLimits},
    http::TrustedProxies,
};

/// Where the database is when nobody says.
pub(super) const DEFAULT_URL: &str = "sqlite://data/store.db";

/// The schema on PostgreSQL when nobody says: one database serves all services.
const DEFAULT_SCHEMA: &str = "store";

#[derive(Deserialize)]
pub(super) struct Raw {
    environment: Environment,
    jwt_secret: SecretString,
    http: HttpConfig,
    grpc: GrpcConfig,
    shutdown: ShutdownConfig,
    telemetry: TelemetryConfig,
    database: RawDatabase,
    rabbitmq: AmqpConfig,
    redis: RawRedis,
    registration: RawRegistration,
    store: RawStore,
    auth: RawAuth,
    admin: RawAdmin,
    tasks: RawTasks,
}

#[derive(Deserialize)]
struct RawDatabase {
    url: SecretString,
    host: String,
    port: u16,
    user: String,
    password: SecretString,
    name: String,
    schema: Option<String>,
    max_connections: u32,
    acquire_timeout_ms: u64,
    statement_timeout_ms: u64,
}

#[derive(Deserialize)]
struct RawRedis {
    url: SecretString,
    host: String,
    key_prefix: String,
    max_connections: usize,
    timeout_ms: u64,
}

#[derive(Deserialize)]
struct RawRegistration {
    registry_url: String,
}

#[derive(Deserialize)]
struct RawStore {
    advertise_host: Option<String>,
    trusted_proxies: String,
}

#[derive(Deserialize)]
struct RawAuth {
    access_token_ttl_ms: u64,
    refresh_token_ttl_ms: u64,
    password_hashers: usize,
    failures_per_account: u32,
    failures_per_address: u32,
    failures_window_ms: u64,
}

#[derive(Deserialize)]
struct RawAdmin {
    email: String,
    password: SecretString,
    password_file: Option<PathBuf>,
}

#[derive(Deserialize)]
struct RawTasks {
    timeout_ms: i64,
    max_attempts: i32,
    retry_base_ms: u64,
    retry_max_ms: u64,
    lost_leases: i32,
    reconcile_interval_ms: u64,
    wake_again_ms: u64,
}

impl RawConfig for Raw {
    type Valid = Config;

    fn validate(self, faults: &mut Faults) -> Option<Config> {
        let mut warnings = Vec::new();
        check_secret(&self.jwt_secret, self.environment, faults, &mut warnings);
        self.http.validate("http", faults);
        self.grpc.validate("grpc", faults);
        self.shutdown.validate("shutdown", faults);
        for (key, message) in self.telemetry.faults() {
            faults.add(&format!("telemetry.{key}"), message);
        }
        let trusted_proxies = TrustedProxies::parse(&self.store.trusted_proxies);
        if trusted_proxies.is_none() {
            faults.add("store.trusted_proxies", "must be none, loopback or private");
        }
        let database = self.database.validate(faults);
        check_rabbitmq(&self.rabbitmq, self.environment, faults);
        let redis = self.redis.validate(faults);
        check_registry(&self.registration.registry_url, faults);
        let admin = self.admin.validate(self.environment, faults);
        let settings = settings(&self.auth, &self.tasks, faults);
        Some(Config {
            environment: self.environment,
            jwt_secret: self.jwt_secret,
            http: self.http,
            grpc: self.grpc,
            shutdown: self.shutdown,
            telemetry: self.telemetry,
            database: database?,
            rabbitmq: self.rabbitmq,
            redis,
            registry_url: self.registration.registry_url,
            advertise_host: self.store.advertise_host.filter(|host| !host.is_empty()),
            admin,
            warnings,
            trusted_proxies: trusted_proxies?,
            settings,
        })
    }
}

fn check_secret(secret: &SecretString, environment: Environment, faults: &mut Faults, warnings: &mut Vec<String>) {
    if let Err(error) = TokenKeys::hs256(secret) {
        let message = error.fields().first().map_or(error.message(), |field| field.message.as_str());
        faults.add("jwt_secret", message);
    } else if sker_auth::is_documented_example(secret) {
        faults.check(!environment.is_production(), "jwt_secret", "is a documented example, which production refuses");
        warnings.push("JWT_SECRET is a documented example: anybody can make tokens".to_owned());
    }
}

fn check_rabbitmq(rabbitmq: &AmqpConfig, environment: Environment, faults: &mut Faults) {
    for (key, message) in rabbitmq.faults() {
        faults.add(&format!("rabbitmq.{key}"), message);
    }
    let is_default = rabbitmq.url.expose_secret().contains("://guest:guest@");
    faults.check(
        !(is_default && environment.is_production()),
        "rabbitmq.url",
        "has RabbitMQ's default password, which production refuses",
    );
}

fn check_registry(url: &str, faults: &mut Faults) {
    let usable = url::Url::parse(url).is_ok_and(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
    faults.check(usable, "registration.registry_url", "must be an http:// or https:// URL");
}

impl RawRedis {
    fn validate(self, faults: &mut Faults) -> RedisConfig {
        let url = match (self.url.expose_secret(), self.host.as_str()) {
            ("", "") => RedisConfig::default().url,
            ("", host) => format!("redis://{host}:6379").into(),
            _ => self.url,
        };
        let redis = RedisConfig {
            url,
            key_prefix: self.key_prefix,
            max_connections: self.max_connections,
            timeout_ms: self.timeout_ms,
        };
        for (key, message) in redis.faults() {
            faults.add(&format!("redis.{key}"), message);
        }
        redis
    }
}

impl RawDatabase {
    fn validate(self, faults: &mut Faults) -> Option<DbConfig> {
        faults.check(
            (1..=1_000).contains(&self.max_connections),
            "database.max_connections",
            "must be within 1 and 1000",
        );
        faults.check(
            (100..=600_000).contains(&self.acquire_timeout_ms),
            "database.acquire_timeout_ms",
            "must be within 100 and 600000",
        );
        faults.check(
            self.statement_timeout_ms <= 86_400_000,
            "database.statement_timeout_ms",
            "must be at most 86400000",
        );
        let url = match (self.url.expose_secret(), self.host.as_str()) {
            ("", "") => DEFAULT_URL.to_owned(),
            ("", _) => self.postgres_url(faults)?,
            (url, _) => url.to_owned(),
        };
        let is_file = url.starts_with("sqlite:");
        if !is_file && !url.starts_with("postgres:") && !url.starts_with("postgresql:") {
            faults.add("database.url", "must begin with sqlite: or postgres:");
        }
        // Readers of one file gain nothing beyond a few.
        let max_connections = if is_file { self.max_connections.min(16) } else { self.max_connections };
        let schema = self.schema.filter(|name| !name.is_empty());
        Some(DbConfig {
            schema: if is_file { None } else { schema.or_else(|| Some(DEFAULT_SCHEMA.to_owned())) },
            max_connections,
            acquire_timeout_ms: self.acquire_timeout_ms,
            statement_timeout_ms: self.statement_timeout_ms,
            ..DbConfig::new(url)
        })
    }

    fn postgres_url(&self, faults: &mut Faults) -> Option<String> {
        let url = || {
            let mut url = url::Url::parse("postgres://localhost").ok()?;
            url.set_host(Some(&self.host)).ok()?;
            url.set_port(Some(self.port)).ok()?;
            url.set_username(&self.user).ok()?;
            let password = self.password.expose_secret();
            url.set_password(Some(password).filter(|password| !password.is_empty())).ok()?;
            url.set_path(&self.name);
            Some(url.to_string())
        };
        let url = url();
        if url.is_none() {
            faults.add("database.host", "is not the name or address of a host");
        }
        url
    }
}

impl RawAdmin {
    fn validate(self, environment: Environment, faults: &mut Faults) -> AdminConfig {
        faults.check(self.email.contains('@'), "admin.email", "must be an email address");
        let length = self.password.expose_secret().chars().count();
        faults.check(length == 0 || length >= 8, "admin.password", "must have at least 8 characters");
        let default = ["admin", "password", "changeme", "admin123", "password123", "administrator", "12345678"]
            .contains(&self.password.expose_secret().to_ascii_lowercase().as_str());
        faults.check(
            !(default && environment.is_production()),
            "admin.password",
            "is a default, which production refuses",
        );
        AdminConfig {
            email: self.email,
            password: Some(self.password).filter(|_| length > 0),
            password_file: self.password_file.filter(|file| !file.as_os_str().is_empty()),
        }
    }
}

fn settings(auth: &RawAuth, tasks: &RawTasks, faults: &mut Faults) -> Settings {
    let mut within = |value: u64, range: std::ops::RangeInclusive<u64>, key: &str| {
        let message = format!("must be within {} and {}", range.start(), range.end());
        faults.check(range.contains(&value), key, message);
    };
    within(auth.access_token_ttl_ms, 1_000..=86_400_000, "auth.access_token_ttl_ms");
    within(auth.refresh_token_ttl_ms, 1_000..=31_622_400_000, "auth.refresh_token_ttl_ms");
    within(auth.password_hashers as u64, 1..=64, "auth.password_hashers");
    within(auth.failures_per_account.into(), 1..=1_000_000, "auth.failures_per_account");
    within(auth.failures_per_address.into(), 1..=1_000_000, "auth.failures_per_address");
    within(auth.failures_window_ms, 1_000..=86_400_000, "auth.failures_window_ms");
    within(u64::try_from(tasks.timeout_ms).unwrap_or(0), 100..=86_400_000, "tasks.timeout_ms");
    within(u64::try_from(tasks.max_attempts).unwrap_or(0), 1..=20, "tasks.max_attempts");
    within(tasks.retry_base_ms, 1..=3_600_000, "tasks.retry_base_ms");
    within(tasks.retry_max_ms, tasks.retry_base_ms..=86_400_000, "tasks.retry_max_ms");
    within(u64::try_from(tasks.lost_leases).unwrap_or(0), 1..=1_000, "tasks.lost_leases");
    within(tasks.reconcile_interval_ms, 10..=60_000, "tasks.reconcile_interval_ms");
    within(tasks.wake_again_ms, 1_000..=3_600_000, "tasks.wake_again_ms");
    Settings {
        access_token_ttl: Duration::from_millis(auth.access_token_ttl_ms),
        refresh_token_ttl: Duration::from_millis(auth.refresh_token_ttl_ms),
        password_hashers: auth.password_hashers,
        sign_in: SignInLimits {
            per_account: auth.failures_per_account,
            per_address: auth.failures_per_address,
            window: Duration::from_millis(auth.failures_window_ms),
        },
        task_timeout_ms: tasks.timeout_ms,
        task_attempts: tasks.max_attempts,
        retry: Backoff::new(Duration::from_millis(tasks.retry_base_ms), Duration::from_millis(tasks.retry_max_ms)),
        lost_leases: tasks.lost_leases,
        reconcile_interval: Duration::from_millis(tasks.reconcile_interval_ms),
        wake_again: Duration::from_millis(tasks.wake_again_ms),
    }
}
