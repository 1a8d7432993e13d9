use std::time::Duration;

use serde::Deserialize;
use sker_config::Faults;

/// `[http]` of a service's configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct HttpConfig {
    /// The address to listen on.
    pub host: String,
    /// The port; 0 takes a free one.
    pub port: u16,
    /// Threads that serve requests.
    pub workers: usize,
    /// The largest body that is taken.
    pub body_limit_bytes: usize,
    /// How long an idle connection stays open.
    pub keep_alive_ms: u64,
    /// How long a client may take to send a request's head.
    pub head_timeout_ms: u64,
    /// Connections per worker.
    pub max_connections: usize,
}

impl Default for HttpConfig {
    fn default() -> Self {
        HttpConfig {
            host: "127.0.0.1".to_owned(),
            port: 0,
            workers: 2,
            body_limit_bytes: 16 * 1024 * 1024,
            keep_alive_ms: 75_000,
            head_timeout_ms: 10_000,
            max_connections: 10_000,
        }
    }
}

impl HttpConfig {
    /// Names what is out of range; `key` is where this stands, usually `http`.
    pub fn validate(&self, key: &str, faults: &mut Faults) {
        faults.check(!self.host.trim().is_empty(), &format!("{key}.host"), "must not be empty");
        faults.check((1..=256).contains(&self.workers), &format!("{key}.workers"), "must be within 1 and 256");
        let body = 1024..=1024 * 1024 * 1024;
        let limit = "must be within 1024 and 1073741824 (1 KiB and 1 GiB)";
        faults.check(body.contains(&self.body_limit_bytes), &format!("{key}.body_limit_bytes"), limit);
        faults.check(self.head_timeout_ms >= 100, &format!("{key}.head_timeout_ms"), "must be at least 100");
        faults.check(self.max_connections >= 1, &format!("{key}.max_connections"), "must be at least 1");
    }
}

/// `[grpc]` of a service's configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct GrpcConfig {
    /// The address to listen on.
    pub host: String,
    /// The port; 0 takes a free one.
    pub port: u16,
}

impl Default for GrpcConfig {
    fn default() -> Self {
        GrpcConfig { host: "127.0.0.1".to_owned(), port: 0 }
    }
}

impl GrpcConfig {
    /// Names what is out of range; `key` is where this stands, usually `grpc`.
    pub fn validate(&self, key: &str, faults: &mut Faults) {
        faults.check(!self.host.trim().is_empty(), &format!("{key}.host"), "must not be empty");
    }
}

/// `[shutdown]` of a service's configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct ShutdownConfig {
    /// How long requests in flight and background tasks may take to end.
    pub drain_ms: u64,
    /// How long requests are still taken after deregistering, until those who route here have heard of it.
    pub settle_ms: u64,
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        ShutdownConfig { drain_ms: 30_000, settle_ms: 100 }
    }
}

impl ShutdownConfig {
    /// Names what is out of range; `key` is where this stands, usually `shutdown`.
    pub fn validate(&self, key: &str, faults: &mut Faults) {
        faults.check(self.drain_ms <= 600_000, &format!("{key}.drain_ms"), "must be at most 600000 (ten minutes)");
        faults.check(self.settle_ms <= 60_000, &format!("{key}.settle_ms"), "must be at most 60000 (one minute)");
    }

    /// [`ShutdownConfig::drain_ms`].
    pub fn drain(&self) -> Duration {
        Duration::from_millis(self.drain_ms)
    }

    /// [`ShutdownConfig::settle_ms`].
    pub fn settle(&self) -> Duration {
        Duration::from_millis(self.settle_ms)
    }
}
