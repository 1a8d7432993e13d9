//! The gateway's configuration.

mod outside;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;
use sker_auth::{TokenKeys, is_documented_example};
use sker_config::{CommonArgs, Environment, Faults, Layers, RawConfig};
use sker_runtime::{HttpConfig, ShutdownConfig, program::ServiceConfig};
use sker_telemetry::TelemetryConfig;

use crate::{
    app::{
        catalogue::{FixedRoute, Rules},
        cors::Cors,
        forwarding::Network,
        instance::Upstream,
        route::RouteSpec,
    },
    realtime::LookEvery,
    upstream::Limits,
};

pub use outside::Outside;
use outside::{RawRedis, RawStore};
use sker_bus::AmqpConfig;

/// The built-in defaults.
pub const DEFAULTS: &str = include_str!("../default.toml");

/// Flat environment names and the keys they set.
pub const FLAT: &[(&str, &str)] = &[
    ("GATEWAY_PORT", "http.port"),
    ("JWT_SECRET", "jwt_secret"),
    ("RABBITMQ_URL", "rabbitmq.url"),
    ("REDIS_URL", "redis.url"),
    ("REDIS_HOST", "redis.host"),
    ("REGISTRY_GRPC_URL", "registration.registry_url"),
    ("STORE_GRPC_URL", "store.url"),
    ("SKER_ENV", "environment"),
    ("NODE_ENV", "environment"),
];

/// A configuration that can be relied on.
#[derive(Clone, Debug)]
pub struct Config {
    /// What it runs for.
    pub environment: Environment,
    /// What tokens are verified with.
    pub jwt_secret: SecretString,
    /// Where and how it listens.
    pub http: HttpConfig,
    /// How it stops.
    pub shutdown: ShutdownConfig,
    /// How it logs.
    pub telemetry: TelemetryConfig,
    /// Headers of a request.
    pub max_headers: usize,
    /// Bytes of a request's head.
    pub max_head_bytes: usize,
    /// Silence of a client within a request's body.
    pub body_idle: Duration,
    /// How long a client may take nothing of an answer.
    pub write_stall: Duration,
    /// Lines of access log per second and thread.
    pub access_log_per_second: u32,
    /// Proxies whose `X-Forwarded-*` counts.
    pub trusted_proxies: Vec<Network>,
    /// Which web pages may use the platform.
    pub cors: Cors,
    /// Connections to services.
    pub upstream: UpstreamConfig,
    /// Who may declare routes.
    pub rules: Rules,
    /// Sockets and event streams.
    pub realtime: RealtimeConfig,
    /// What others reach this service by; empty for the address it listens on.
    pub advertise_host: String,
    /// Where everything else is, for the gateway as a program of its own.
    pub outside: Outside,
}

/// Connections to services.
#[derive(Clone, Debug)]
pub struct UpstreamConfig {
    /// How long things may take.
    pub limits: Limits,
    /// How long an idle connection is kept.
    pub idle: Duration,
    /// Idle connections per instance and thread.
    pub most_idle: usize,
}

/// Sockets and event streams.
#[derive(Clone, Debug)]
pub struct RealtimeConfig {
    /// Events that may wait for one client.
    pub queue: usize,
    /// Subscriptions of one socket.
    pub max_subscriptions: usize,
    /// The largest message from a client.
    pub max_message_bytes: usize,
    /// How long a socket may stay without a token.
    pub auth: Duration,
    /// How often a client is asked for a sign of life.
    pub ping: Duration,
    /// Silence after which it counts as gone.
    pub idle: Duration,
    /// How long it may take to hear why it is closed.
    pub close: Duration,
    /// How often the log is compared with what was heard.
    pub look: LookEvery,
}

impl Config {
    /// Merges the layers and validates; every fault at once.
    pub fn load(layers: &Layers) -> Result<Self, Faults> {
        sker_config::load::<Raw>(layers)
    }

    /// The defaults alone, as layers to add to.
    pub fn defaults() -> Layers {
        Layers::new(Self::SERVICE, DEFAULTS, FLAT)
    }
}

impl ServiceConfig for Config {
    const SERVICE: &'static str = "gateway";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const ABOUT: &'static str = "SKER's API gateway: routes, proxy, realtime";

    fn layers(args: &CommonArgs) -> Layers {
        Layers::from_process(Self::SERVICE, DEFAULTS, FLAT, args)
    }

    fn load(layers: &Layers) -> Result<Self, Faults> {
        Config::load(layers)
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
    http: HttpConfig,
    shutdown: ShutdownConfig,
    telemetry: TelemetryConfig,
    limits: RawLimits,
    cors: RawCors,
    upstream: RawUpstream,
    routes: RawRoutes,
    realtime: RawRealtime,
    registration: RawRegistration,
    rabbitmq: AmqpConfig,
    redis: RawRedis,
    store: RawStore,
}

#[derive(Deserialize)]
struct RawLimits {
    max_headers: usize,
    max_head_bytes: usize,
    body_idle_ms: u64,
    write_stall_ms: u64,
    access_log_per_second: u32,
    trusted_proxies: Vec<String>,
}

#[derive(Deserialize)]
struct RawCors {
    allowed_origins: Vec<String>,
}

#[derive(Deserialize)]
struct RawUpstream {
    connect_timeout_ms: u64,
    timeout_ms: u64,
    body_idle_ms: u64,
    idle_ms: u64,
    max_idle: usize,
    rest_ms: u64,
}

#[derive(Deserialize)]
struct RawRoutes {
    groups: Vec<String>,
    missing_grace_ms: u64,
    retain_ms: u64,
    fixed: Vec<BTreeMap<String, Value>>,
}

#[derive(Deserialize)]
struct RawRealtime {
    queue: usize,
    max_subscriptions: usize,
    max_message_bytes: usize,
    auth_timeout_ms: u64,
    ping_ms: u64,
    idle_ms: u64,
    close_ms: u64,
    look_ms: u64,
    calm_look_ms: u64,
}

#[derive(Deserialize)]
struct RawRegistration {
    registry_url: String,
    advertise_host: String,
}

impl RawConfig for Raw {
    type Valid = Config;

    fn validate(self, faults: &mut Faults) -> Option<Config> {
        check_secret(&self.jwt_secret, self.environment, faults);
        self.http.validate("http", faults);
        self.shutdown.validate("shutdown", faults);
        for (key, message) in self.telemetry.faults() {
            faults.add(&format!("telemetry.{key}"), message);
        }
        let (limits, upstream, realtime) = (&self.limits, &self.upstream, &self.realtime);
        positive(
            faults,
            &[
                ("limits.body_idle_ms", limits.body_idle_ms),
                ("limits.write_stall_ms", limits.write_stall_ms),
                ("upstream.connect_timeout_ms", upstream.connect_timeout_ms),
                ("upstream.timeout_ms", upstream.timeout_ms),
                ("upstream.body_idle_ms", upstream.body_idle_ms),
                ("realtime.auth_timeout_ms", realtime.auth_timeout_ms),
                ("realtime.ping_ms", realtime.ping_ms),
                ("realtime.idle_ms", realtime.idle_ms),
                ("realtime.look_ms", realtime.look_ms),
                ("realtime.calm_look_ms", realtime.calm_look_ms),
                ("realtime.queue", realtime.queue as u64),
                ("realtime.max_subscriptions", realtime.max_subscriptions as u64),
            ],
        );
        faults.check((1..=1000).contains(&limits.max_headers), "limits.max_headers", "must be within 1 and 1000");
        let head = (8_192..=1_048_576).contains(&limits.max_head_bytes);
        faults.check(head, "limits.max_head_bytes", "must be within 8192 and 1048576");
        let message = (1_024..=67_108_864).contains(&realtime.max_message_bytes);
        faults.check(message, "realtime.max_message_bytes", "must be within 1024 and 67108864");
        faults.check(realtime.idle_ms > realtime.ping_ms, "realtime.idle_ms", "must be more than realtime.ping_ms");
        let trusted_proxies = networks(&limits.trusted_proxies, faults);
        let cors = cors(self.environment, self.cors.allowed_origins, faults);
        let rules = self.routes.validate(faults);
        let outside = Outside {
            rabbitmq: self.rabbitmq,
            redis: self.redis.into_config(),
            registry_url: self.registration.registry_url,
            store_url: self.store.url,
        };
        outside.check(self.environment, faults);
        Some(Config {
            environment: self.environment,
            jwt_secret: self.jwt_secret,
            max_headers: limits.max_headers,
            max_head_bytes: limits.max_head_bytes,
            body_idle: millis(limits.body_idle_ms),
            write_stall: millis(limits.write_stall_ms),
            access_log_per_second: limits.access_log_per_second,
            trusted_proxies,
            cors,
            upstream: UpstreamConfig {
                limits: Limits {
                    connect: millis(upstream.connect_timeout_ms),
                    answer: millis(upstream.timeout_ms),
                    idle: millis(upstream.body_idle_ms),
                    rest: millis(upstream.rest_ms),
                },
                idle: millis(upstream.idle_ms),
                most_idle: upstream.max_idle,
            },
            rules,
            realtime: RealtimeConfig {
                queue: realtime.queue,
                max_subscriptions: realtime.max_subscriptions,
                max_message_bytes: realtime.max_message_bytes,
                auth: millis(realtime.auth_timeout_ms),
                ping: millis(realtime.ping_ms),
                idle: millis(realtime.idle_ms),
                close: millis(realtime.close_ms),
                look: LookEvery { usual: millis(realtime.look_ms), calm: millis(realtime.calm_look_ms) },
            },
            advertise_host: self.registration.advertise_host,
            outside,
            http: self.http,
            shutdown: self.shutdown,
            telemetry: self.telemetry,
        })
    }
}

impl RawRoutes {
    fn validate(self, faults: &mut Faults) -> Rules {
        let platform = self.groups.iter().any(|group| group == sker_api::PLATFORM_GROUP);
        faults.check(!platform, "routes.groups", "the platform's group is always in; name only others");
        let fixed = self.fixed.into_iter().enumerate().filter_map(|(index, table)| {
            let fixed = fixed_route(table);
            fixed.map_err(|fault| faults.add(&format!("routes.fixed[{index}]"), fault)).ok()
        });
        Rules {
            fixed: fixed.collect(),
            groups: self.groups,
            missing_grace: millis(self.missing_grace_ms),
            retain: millis(self.retain_ms),
        }
    }
}

fn fixed_route(mut table: BTreeMap<String, Value>) -> Result<FixedRoute, String> {
    let upstreams = match table.remove("upstreams") {
        Some(Value::Array(addresses)) if !addresses.is_empty() => addresses,
        _ => return Err("upstreams must be a list of addresses like 10.0.0.7:8080".to_owned()),
    };
    let upstreams = upstreams.iter().map(|address| {
        let text = address.as_str().unwrap_or_default();
        let upstream = text.rsplit_once(':').and_then(|(host, port)| Upstream::new(text, host, port.parse().ok()?));
        upstream.map(Arc::new).ok_or_else(|| format!("upstream {address} is not an address like 10.0.0.7:8080"))
    });
    let upstreams = upstreams.collect::<Result<Vec<_>, _>>()?;
    let spec = RouteSpec::parse(Value::Object(table.into_iter().collect()))?;
    if crate::app::table::is_own(&spec.pattern) {
        return Err(format!("{} is answered by the gateway itself", spec.pattern));
    }
    Ok(FixedRoute { spec, upstreams })
}

fn check_secret(secret: &SecretString, environment: Environment, faults: &mut Faults) {
    if let Err(error) = TokenKeys::hs256(secret) {
        faults.add("jwt_secret", error.fields().first().map_or(error.message(), |field| field.message.as_str()));
    }
    let refused = environment.is_production() && is_documented_example(secret);
    faults.check(!refused, "jwt_secret", "is a documented example, which production refuses");
}

fn networks(texts: &[String], faults: &mut Faults) -> Vec<Network> {
    let parsed = texts
        .iter()
        .filter_map(|text| text.parse().map_err(|fault: String| faults.add("limits.trusted_proxies", fault)).ok());
    parsed.collect()
}

fn cors(environment: Environment, origins: Vec<String>, faults: &mut Faults) -> Cors {
    for origin in &origins {
        let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        let good = rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(['/', '*', ' ']));
        faults.check(good, "cors.allowed_origins", format!("{origin:?} is not an origin like https://app.example.org"));
    }
    match (environment, origins.is_empty()) {
        (Environment::Development, true) => Cors::Open,
        _ => Cors::Only(origins),
    }
}

fn positive(faults: &mut Faults, values: &[(&str, u64)]) {
    for (key, value) in values {
        faults.check(*value > 0, key, "must be at least 1");
    }
}

fn millis(value: u64) -> Duration {
    Duration::from_millis(value)
}

#[cfg(test)]
mod tests;
