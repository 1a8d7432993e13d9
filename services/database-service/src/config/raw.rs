use std::{collections::BTreeMap, time::Duration};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sker_auth::TokenKeys;
use sker_config::{Environment, Faults, RawConfig};
use sker_db::DbConfig;
use sker_runtime::{GrpcConfig, HttpConfig, ShutdownConfig};
use sker_telemetry::TelemetryConfig;

use super::{Config, RegistrationConfig};
use crate::{
    app::{Intervals, Kind, Target, Thresholds, is_target_name},
    drivers,
};

/// As it is written; key by key in default.toml.
#[derive(Deserialize)]
pub(super) struct Raw {
    environment: Environment,
    jwt_secret: SecretString,
    http: HttpConfig,
    grpc: GrpcConfig,
    shutdown: ShutdownConfig,
    telemetry: TelemetryConfig,
    database: DbConfig,
    registration: RegistrationConfig,
    checks: RawChecks,
    targets: BTreeMap<String, RawTarget>,
    default_targets: BTreeMap<String, RawDefaultTarget>,
}

#[derive(Deserialize)]
struct RawChecks {
    interval_ms: u64,
    recheck_ms: u64,
    deadline_ms: u64,
    deep_interval_ms: u64,
    failures: u32,
    successes: u32,
}

#[derive(Deserialize)]
struct RawTarget {
    kind: String,
    url: SecretString,
    #[serde(default)]
    management_url: Option<SecretString>,
}

#[derive(Deserialize)]
struct RawDefaultTarget {
    url: Option<SecretString>,
    #[serde(default)]
    host: Option<String>,
    #[serde(default)]
    management_url: Option<SecretString>,
    // What only completes a host.
    #[serde(default)]
    port: Option<u16>,
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    password: Option<SecretString>,
    #[serde(default)]
    database: Option<String>,
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
        let warning = is_example.then(|| "JWT_SECRET is a documented example: anybody can make tokens".to_owned());
        self.http.validate("http", faults);
        self.grpc.validate("grpc", faults);
        self.shutdown.validate("shutdown", faults);
        for (key, message) in self.telemetry.faults() {
            faults.add(&format!("telemetry.{key}"), message);
        }
        let is_postgres = ["postgres:", "postgresql:"].iter().any(|start| self.database.url.starts_with(start));
        let is_database = is_postgres || self.database.url.starts_with("sqlite:");
        faults.check(is_database, "database.url", "must begin with sqlite: or postgres:");
        let connections = (1..=1_000).contains(&self.database.max_connections);
        faults.check(connections, "database.max_connections", "must be within 1 and 1000");
        let url = &self.registration.registry_url;
        faults.check(url.starts_with("http://"), "registration.registry_url", "must begin with http://");
        let checks = self.checks.validate(faults);
        let database = DbConfig {
            schema: self.database.schema.filter(|name| !name.is_empty()).or_else(|| is_postgres.then(own_schema)),
            ..self.database
        };
        let mut targets = named_targets(self.targets, faults);
        targets.extend(default_targets(self.default_targets, faults));
        check_names(&targets, faults);
        Some(Config {
            environment: self.environment,
            jwt_secret: self.jwt_secret,
            http: self.http,
            grpc: self.grpc,
            shutdown: self.shutdown,
            telemetry: self.telemetry,
            database,
            registration: self.registration,
            checks,
            targets,
            warnings: warning.into_iter().collect(),
        })
    }
}

impl RawChecks {
    fn validate(&self, faults: &mut Faults) -> Intervals {
        let within = |faults: &mut Faults, key: &str, value: u64, least: u64, most: u64| {
            let message = format!("must be within {least} and {most}");
            faults.check((least..=most).contains(&value), &format!("checks.{key}"), message);
        };
        within(faults, "interval_ms", self.interval_ms, 100, 86_400_000);
        within(faults, "recheck_ms", self.recheck_ms, 50, 3_600_000);
        within(faults, "deadline_ms", self.deadline_ms, 50, 60_000);
        within(faults, "deep_interval_ms", self.deep_interval_ms, 100, 86_400_000);
        within(faults, "failures", self.failures.into(), 1, 100);
        within(faults, "successes", self.successes.into(), 1, 100);
        let ordered = self.recheck_ms <= self.interval_ms;
        faults.check(ordered, "checks.recheck_ms", "must not be longer than checks.interval_ms");
        Intervals {
            usual: Duration::from_millis(self.interval_ms),
            close: Duration::from_millis(self.recheck_ms),
            deep: Duration::from_millis(self.deep_interval_ms),
            deadline: Duration::from_millis(self.deadline_ms),
            thresholds: Thresholds { failures: self.failures, successes: self.successes },
        }
    }
}

/// The schema on PostgreSQL when nobody says: one database serves all services.
fn own_schema() -> String {
    crate::SERVICE.replace('-', "_")
}

fn named_targets(raw: BTreeMap<String, RawTarget>, faults: &mut Faults) -> Vec<Target> {
    let mut targets = Vec::new();
    for (name, RawTarget { kind, url, management_url }) in raw {
        let key = format!("targets.{name}");
        let is_name = is_target_name(&name);
        faults.check(is_name, &key, "the name must be of 1 to 64 lower-case letters, digits, - and _");
        let Some(kind) = Kind::parse(&kind) else {
            let kinds = Kind::ALL.map(Kind::as_str).join(", ");
            faults.add(&format!("{key}.kind"), format!("must be one of {kinds}"));
            continue;
        };
        let keys = Keys { url: format!("{key}.url"), kind: format!("{key}.kind"), key };
        targets.extend(target(&name, kind, url, management_url, &keys, faults));
    }
    targets
}

/// What the seed's flat names configure: one target per kind, named after it.
fn default_targets(raw: BTreeMap<String, RawDefaultTarget>, faults: &mut Faults) -> Vec<Target> {
    let mut targets = Vec::new();
    for (name, raw) in raw {
        let key = format!("default_targets.{name}");
        let Some(kind) = Kind::parse(&name) else {
            faults.add(&key, "is not a kind of database");
            continue;
        };
        // A fault is told of the key that made it a target.
        let said = match (&raw.url, &raw.host) {
            (None, Some(_)) => format!("{key}.host"),
            _ => format!("{key}.url"),
        };
        let management_key = format!("{key}.management_url");
        match (raw.address(kind), raw.management_url) {
            // DATABASE_URL may name a SQLite file, as in a development set-up without servers.
            (Some(url), None) if url.expose_secret().starts_with("sqlite:") => {
                let keys = Keys { url: said, kind: key.clone(), key };
                targets.extend(target("default", Kind::Sqlite, url, None, &keys, faults));
            }
            (Some(url), management_url) => {
                let keys = Keys { url: said.clone(), kind: said, key };
                targets.extend(target(&name, kind, url, management_url, &keys, faults));
            }
            (None, Some(_)) => faults.add(&management_key, format!("is of no use without {said}")),
            (None, None) => {}
        }
    }
    targets
}

impl RawDefaultTarget {
    /// The URL, or the one that host, port, user, password and database make.
    fn address(&self, kind: Kind) -> Option<SecretString> {
        if let Some(url) = &self.url {
            return Some(url.clone());
        }
        let host = self.host.as_ref()?;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let user = self.user.as_deref().map(encoded).unwrap_or_default();
        let credentials = match &self.password {
            Some(password) => format!("{user}:{}@", encoded(password.expose_secret())),
            None if user.is_empty() => String::new(),
            None => format!("{user}@"),
        };
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        let database = self.database.as_deref().map(encoded).unwrap_or_default();
        let scheme = match kind {
            Kind::Redis => "redis",
            Kind::Mysql => "mysql",
            Kind::Rabbitmq => "amqp",
            _ => "postgres",
        };
        Some(format!("{scheme}://{credentials}{host}{port}/{database}").into())
    }
}

/// What the parts of a target are called where it is configured.
struct Keys {
    key: String,
    kind: String,
    url: String,
}

fn target(
    name: &str,
    kind: Kind,
    url: SecretString,
    management_url: Option<SecretString>,
    keys: &Keys,
    faults: &mut Faults,
) -> Option<Target> {
    let drivers = drivers::all();
    let Some(driver) = drivers.get(kind) else {
        faults.add(&keys.kind, no_driver(kind));
        return None;
    };
    let checked = driver.check_url(url.expose_secret());
    let mut target = Target::new(name, kind, url);
    if let Err(message) = &checked {
        faults.add(&keys.url, message);
    }
    if let Some(url) = management_url {
        if let Err(message) = driver.check_management_url(url.expose_secret()) {
            faults.add(&format!("{}.management_url", keys.key), message);
            return None;
        }
        target = target.with_management(url);
    }
    checked.is_ok().then_some(target)
}

fn no_driver(kind: Kind) -> String {
    format!("{} cannot be checked yet: its driver follows in a later release; leave it out", kind.title())
}

fn check_names(targets: &[Target], faults: &mut Faults) {
    for (index, target) in targets.iter().enumerate() {
        if targets[..index].iter().any(|other| other.name == target.name) {
            faults.add(&format!("targets.{}", target.name), "this name is used twice");
        }
    }
}
