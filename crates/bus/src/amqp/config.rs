use std::{net::IpAddr, time::Duration};

use lapin::uri::AMQPUri;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sker_error::{Error, Result};
use url::{Host, Url};

/// `[rabbitmq]` of a service's configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct AmqpConfig {
    /// `amqp://user:password@host:port/vhost`, or `amqps://`.
    pub url: SecretString,
    /// Messages that may wait for their confirm at a time, per exchange.
    pub confirm_window: usize,
    /// How long a message may wait for its confirm, and any other call for its answer.
    pub timeout_ms: u64,
    /// How long connecting may take, with TLS and logging in.
    pub connect_timeout_ms: u64,
    /// The longest pause between two attempts to connect.
    pub reconnect_max_ms: u64,
    /// A connection on which nothing was heard for twice as long is given up.
    pub heartbeat_s: u16,
    /// Larger messages are neither published nor taken. RabbitMQ 4 takes 16 MiB unless told otherwise.
    pub max_message_bytes: usize,
}

impl Default for AmqpConfig {
    fn default() -> Self {
        AmqpConfig {
            url: "amqp://guest:guest@127.0.0.1:5672/%2f".into(),
            confirm_window: 200,
            timeout_ms: 5_000,
            connect_timeout_ms: 5_000,
            reconnect_max_ms: 5_000,
            heartbeat_s: 10,
            max_message_bytes: 8 << 20,
        }
    }
}

impl AmqpConfig {
    /// What is wrong with it: the key, from this configuration on, and a message. No message repeats the URL, which may have
    /// a password in it.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        if let Err(message) = parse(self.url.expose_secret()) {
            faults.push(("url", message.to_owned()));
        }
        let ranges = [
            ("confirm_window", self.confirm_window as u64, 1, 10_000),
            ("timeout_ms", self.timeout_ms, 100, 60_000),
            ("connect_timeout_ms", self.connect_timeout_ms, 100, 60_000),
            ("reconnect_max_ms", self.reconnect_max_ms, 100, 60_000),
            ("heartbeat_s", u64::from(self.heartbeat_s), 1, 600),
            ("max_message_bytes", self.max_message_bytes as u64, 1 << 10, 128 << 20),
        ];
        for (key, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                faults.push((key, format!("must be from {least} to {most}")));
            }
        }
        faults
    }

    /// What the rest of this module needs of it.
    ///
    /// # Errors
    /// `invalid_request` when the configuration has faults.
    pub(super) fn settings(&self, name: &str) -> Result<Settings> {
        if let Some((key, message)) = self.faults().into_iter().next() {
            return Err(Error::invalid_request(format!("{key} {message}")));
        }
        let mut uri = parse(self.url.expose_secret()).map_err(Error::invalid_request)?;
        uri.query.heartbeat = Some(uri.query.heartbeat.unwrap_or(self.heartbeat_s));
        Ok(Settings {
            uri,
            name: name.to_owned(),
            window: self.confirm_window,
            timeout: Duration::from_millis(self.timeout_ms),
            connect_timeout: Duration::from_millis(self.connect_timeout_ms),
            reconnect_max: Duration::from_millis(self.reconnect_max_ms),
            max_message_bytes: self.max_message_bytes,
        })
    }
}

/// A configuration without faults. Has no `Debug`: the URI prints its password.
pub(super) struct Settings {
    pub(super) uri: AMQPUri,
    pub(super) name: String,
    pub(super) window: usize,
    pub(super) timeout: Duration,
    pub(super) connect_timeout: Duration,
    pub(super) reconnect_max: Duration,
    pub(super) max_message_bytes: usize,
}

fn parse(text: &str) -> std::result::Result<AMQPUri, &'static str> {
    const SHAPE: &str = "must be like amqp://user:password@host:5672/vhost, or amqps://... for TLS";
    let url = Url::parse(text).map_err(|_| SHAPE)?;
    if !matches!(url.scheme(), "amqp" | "amqps") || url.host_str().is_none_or(str::is_empty) {
        return Err(SHAPE);
    }
    if url.fragment().is_some() {
        return Err("must not have a #fragment; a # in a password is written %23");
    }
    let mut uri: AMQPUri = text.parse().map_err(|_| SHAPE)?;
    // The parser reads only names here and takes an address in brackets for `localhost`.
    if let Some(Host::Ipv6(address)) = url.host() {
        uri.authority.host = IpAddr::from(address).to_string();
    }
    // By the letter that is the virtual host without a name; what people mean by it is the default one.
    if uri.vhost.is_empty() {
        uri.vhost = "/".to_owned();
    }
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> AmqpConfig {
        AmqpConfig { url: url.into(), ..AmqpConfig::default() }
    }

    #[test]
    fn the_defaults_have_no_faults() {
        assert_eq!(AmqpConfig::default().faults(), []);
    }

    #[test]
    fn a_url_that_cannot_be_used_is_named_without_its_password() {
        for url in [
            "",
            "rabbit.example",
            "http://guest:hunter2@rabbit.example/",
            "amqp:hunter2",
            "amqp:///vhost",
            "amqp://user:hunter2@rabbit.example:99999/",
            "amqp://user:hunter2@rabbit.example/?heartbeat=soon",
            "amqp://user:hunter2#@rabbit.example/",
        ] {
            let faults = config(url).faults();
            assert_eq!(faults.len(), 1, "{url}");
            assert_eq!(faults[0].0, "url");
            assert!(!faults[0].1.contains("hunter2"), "{}", faults[0].1);
            let error = config(url).settings("test").err().expect("a fault");
            assert!(!format!("{error:?} {error}").contains("hunter2"));
        }
    }

    #[test]
    fn addresses_passwords_and_virtual_hosts_arrive_as_written() {
        let uri = |url: &str| config(url).settings("test").expect("a URL").uri;
        assert_eq!(uri("amqp://[::1]:5673/a").authority.host, "::1");
        assert_eq!(uri("amqp://10.0.0.1/a").authority.host, "10.0.0.1");
        assert_eq!(uri("amqp://rabbit.example/a%2Fb").vhost, "a/b");
        assert_eq!(uri("amqp://rabbit.example/").vhost, "/");
        assert_eq!(uri("amqp://rabbit.example").vhost, "/");
        assert_eq!(uri("amqp://u:p%23%40w@rabbit.example").authority.userinfo.password, "p#@w");
        assert_eq!(uri("amqps://rabbit.example").authority.port, 5671);
        assert_eq!(uri("amqp://rabbit.example").query.heartbeat, Some(10));
        assert_eq!(uri("amqp://rabbit.example/?heartbeat=30").query.heartbeat, Some(30));
    }

    #[test]
    fn every_number_out_of_range_is_named() {
        let config = AmqpConfig {
            confirm_window: 0,
            timeout_ms: 0,
            connect_timeout_ms: 1_000_000,
            reconnect_max_ms: 1,
            heartbeat_s: 0,
            max_message_bytes: 1,
            ..AmqpConfig::default()
        };
        let keys: Vec<&str> = config.faults().into_iter().map(|(key, _)| key).collect();
        let expected = [
            "confirm_window",
            "timeout_ms",
            "connect_timeout_ms",
            "reconnect_max_ms",
            "heartbeat_s",
            "max_message_bytes",
        ];
        assert_eq!(keys, expected);
    }
}
