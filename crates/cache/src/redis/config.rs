use redis::{ConnectionInfo, IntoConnectionInfo, ProtocolVersion, io::tcp::socket2::TcpKeepalive};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sker_error::{Error, Result};
use std::time::Duration;

/// `[redis]` of a service's configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct RedisConfig {
    /// `redis://user:password@host:port/database`, `rediss://` for TLS, or `unix:///path`.
    pub url: SecretString,
    /// How every key begins, so that several platforms can share a server.
    pub key_prefix: String,
    /// Connections at most. Many commands share one at a time, so a few are enough.
    pub max_connections: usize,
    /// How long one command may take, connecting included.
    pub timeout_ms: u64,
}

impl Default for RedisConfig {
    fn default() -> Self {
        RedisConfig {
            url: "redis://127.0.0.1:6379".into(),
            key_prefix: "sker".to_owned(),
            max_connections: 4,
            timeout_ms: 2_000,
        }
    }
}

impl RedisConfig {
    /// What is wrong with it: the key, from this configuration on, and a message. No message repeats the URL, which may have
    /// a password in it.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        if let Err(message) = connection_info(self.url.expose_secret()) {
            faults.push(("url", message));
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
        let is_empty = self.key_prefix.trim_end_matches(':').is_empty();
        if is_empty || self.key_prefix.len() > 64 || !self.key_prefix.chars().all(is_plain) {
            faults.push(("key_prefix", "must be 1 to 64 letters, digits or any of - _ . :, not only of :".to_owned()));
        }
        if !(1..=256).contains(&self.max_connections) {
            faults.push(("max_connections", "must be from 1 to 256".to_owned()));
        }
        if !(50..=60_000).contains(&self.timeout_ms) {
            faults.push(("timeout_ms", "must be from 50 to 60000".to_owned()));
        }
        faults
    }

    /// What a client connects to.
    ///
    /// # Errors
    /// `invalid_request` when the configuration has faults.
    pub(super) fn connection_info(&self) -> Result<ConnectionInfo> {
        if let Some((key, message)) = self.faults().into_iter().next() {
            return Err(Error::invalid_request(format!("{key} {message}")));
        }
        connection_info(self.url.expose_secret()).map_err(Error::invalid_request)
    }
}

fn connection_info(url: &str) -> std::result::Result<ConnectionInfo, String> {
    const SHAPE: &str = "must be like redis://user:password@host:6379/0, rediss://... for TLS, or unix:///path";
    const HIGHEST_DATABASE: i64 = 65_535;
    let parsed = redis::parse_redis_url(url).ok_or(SHAPE)?;
    if !matches!(parsed.scheme(), "redis" | "rediss" | "unix") {
        return Err(SHAPE.to_owned());
    }
    // `#insecure` would give up checking who is at the other end.
    if parsed.fragment().is_some() {
        return Err("must not have a #fragment; a # in a password is written %23".to_owned());
    }
    let info = parsed.into_connection_info().map_err(|_| SHAPE)?;
    if !(0..=HIGHEST_DATABASE).contains(&info.redis_settings().db()) {
        return Err(format!("must name a database from 0 to {HIGHEST_DATABASE}"));
    }
    // The third version of the protocol is the one in which the client is told when a connection has ended.
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3).set_skip_set_lib_name();
    let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(10));
    let tcp = info.tcp_settings().clone().set_nodelay(true).set_keepalive(keepalive);
    Ok(info.set_redis_settings(settings).set_tcp_settings(tcp))
}
