//! The store's configuration.

use std::{path::PathBuf, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sker_auth::TokenKeys;
use sker_config::{CommonArgs, Environment, Faults, Layers, RawConfig};
use sker_db::DbConfig;
use sker_runtime::{GrpcConfig, HttpConfig, ShutdownConfig, program::ServiceConfig};
use sker_telemetry::TelemetryConfig;
use sker_traffic::Backoff;

use crate::{
    SERVICE, VERSION,
    app::{Settings, SignInLimits},
    http::TrustedProxies,
};

const DEFAULTS: &str = include_str!("../default.toml");

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
    ("SKER_ADMIN_EMAIL", "admin.email"),
    ("SKER_ADMIN_PASSWORD", "admin.password"),
    ("AI_TASK_TIMEOUT", "tasks.timeout_ms"),
];

/// Where the database is when nobody says.
const DEFAULT_URL: &str = "sqlite://data/store.db";

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

#[derive(Deserialize)]
struct Raw {
    environment: Environment,
    jwt_secret: SecretString,
    http: HttpConfig,
    grpc: GrpcConfig,
    shutdown: ShutdownConfig,
    telemetry: TelemetryConfig,
    database: RawDatabase,
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

impl RawDatabase {
    fn validate(self, faults: &mut Faults) -> Option<DbConfig> {
        faults.check(
            (1..=1_000).contains(&self.max_connections),
            "database.max_connections",
            "must be within 1 and 1000",
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
        Some(DbConfig { schema: self.schema.filter(|name| !name.is_empty()), max_connections, ..DbConfig::new(url) })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(env: &[(&str, &str)]) -> Result<Config, Faults> {
        let mut layers = layers();
        layers.env.insert("JWT_SECRET".into(), "one that is long enough and stands nowhere".into());
        layers.env.extend(env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Config::load(&layers)
    }

    #[test]
    fn the_flat_names_of_postgresql_make_a_url_and_database_url_beats_them() {
        assert_eq!(loaded(&[]).unwrap().database.url, DEFAULT_URL);
        let parts = [("PG_HOST", "db"), ("PG_USER", "u"), ("PG_PASSWORD", "p@ss/word"), ("PG_DATABASE", "d")];
        assert_eq!(loaded(&parts).unwrap().database.url, "postgres://u:p%40ss%2Fword@db:5432/d");
        let mut both = parts.to_vec();
        both.push(("DATABASE_URL", "sqlite:///x.db"));
        assert_eq!(loaded(&both).unwrap().database.url, "sqlite:///x.db");
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let faults = loaded(&[
            ("JWT_SECRET", "short"),
            ("AI_TASK_TIMEOUT", "1"),
            ("SKER_ADMIN_PASSWORD", "admin"),
            ("DATABASE_URL", "oracle://x"),
        ])
        .unwrap_err();
        let keys: Vec<&str> = faults.iter().map(|fault| fault.key.as_str()).collect();
        assert_eq!(keys, ["jwt_secret", "database.url", "admin.password", "tasks.timeout_ms"]);
    }
}
