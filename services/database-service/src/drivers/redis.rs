//! Redis 6 and later, and servers that speak like it.

use std::collections::HashMap;

use async_trait::async_trait;
use redis::{
    AsyncConnectionConfig, Client, ErrorKind, IntoConnectionInfo, RedisError, RedisResult, ServerErrorKind,
    aio::MultiplexedConnection, cmd,
};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::network::{self, Address, CLIENT_NAME};
use crate::app::{Depth, Driver, Failure, Observation, Progress, Session, Step, Target};

/// Figures of `INFO` that are worth showing as they are.
const SHOWN: [&str; 4] = ["redis_mode", "connected_slaves", "master_link_status", "valkey_version"];

/// Checks Redis servers.
pub struct Redis;

#[async_trait]
impl Driver for Redis {
    async fn connect(&self, target: &Target, _: Instant, progress: &Progress) -> Result<Box<dyn Session>, Failure> {
        let (address, client) = client(target.url()).map_err(|message| progress.failure(message))?;
        network::resolve(&address, progress).await?;
        network::choose_tls();
        // The caller's deadline is the only one. What drives the connection ends with it.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        match client.get_multiplexed_async_connection_with_config(&config).await {
            Ok(connection) => Ok(Box::new(Server { connection })),
            Err(error) => Err(refusal(&error, progress)),
        }
    }

    fn check_url(&self, url: &str) -> Result<(), String> {
        client(url).map(drop)
    }
}

struct Server {
    connection: MultiplexedConnection,
}

#[async_trait]
impl Session for Server {
    async fn look(&mut self, _: Depth, progress: &Progress) -> Result<Observation, Failure> {
        let info = light(&mut self.connection).await.map_err(|error| progress.failure(explain(&error)))?;
        let role = info.get("role").map(|role| match role.as_str() {
            "master" => "primary".to_owned(),
            "slave" => "replica".to_owned(),
            role => role.to_owned(),
        });
        let shown = SHOWN.iter().filter_map(|name| Some(((*name).to_owned(), figure(info.get(*name)?))));
        let details: Map<String, Value> = shown.collect();
        Ok(Observation {
            version: info.get("redis_version").cloned(),
            role,
            uptime_s: info.get("uptime_in_seconds").and_then(|uptime| uptime.parse().ok()),
            details,
            ..Observation::default()
        })
    }

    async fn close(self: Box<Self>) {
        // Redis has no word for it that all versions know; the connection is simply closed.
    }
}

/// Nothing here reads a key, and every command is in the category of the least privileges.
async fn light(connection: &mut MultiplexedConnection) -> RedisResult<HashMap<String, String>> {
    let () = cmd("PING").query_async(connection).await?;
    let mut info = HashMap::new();
    for section in ["server", "replication"] {
        let text: String = cmd("INFO").arg(section).query_async(connection).await?;
        info.extend(lines(&text));
    }
    Ok(info)
}

/// `INFO` is of lines `name:value` and headings.
fn lines(text: &str) -> impl Iterator<Item = (String, String)> + '_ {
    text.lines().filter_map(|line| line.split_once(':')).map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
}

fn figure(value: &str) -> Value {
    value.parse::<u64>().map_or_else(|_| json!(value), |number| json!(number))
}

fn client(url: &str) -> Result<(Address, Client), String> {
    let address = network::address(url, &["redis", "rediss"], &["protocol"], 6379)?;
    let info = url.into_connection_info().map_err(|_| "is not a Redis URL".to_owned())?;
    let settings = info.redis_settings().clone().set_lib_name(CLIENT_NAME, env!("CARGO_PKG_VERSION"));
    let client = Client::open(info.set_redis_settings(settings)).map_err(|_| "is not a Redis URL".to_owned())?;
    Ok((address, client))
}

fn refusal(error: &RedisError, progress: &Progress) -> Failure {
    if let Some(kind) = network::io_kind(error) {
        return network::connect_failure(kind, progress);
    }
    if error.kind() == ErrorKind::Client || error.kind() == ErrorKind::Io {
        return progress.failure("the connection fails");
    }
    progress.enter(Step::Authenticate);
    progress.failure(explain(error))
}

/// Error codes in words; the server's own may quote what was sent.
fn explain(error: &RedisError) -> String {
    if let Some(kind) = network::io_kind(error) {
        return network::explain_io(kind);
    }
    match (error.kind(), error.code()) {
        (ErrorKind::AuthenticationFailed, _) | (_, Some("WRONGPASS" | "NOAUTH")) => {
            "the server refuses the user or the password".to_owned()
        }
        (ErrorKind::Server(ServerErrorKind::BusyLoading), _) => "the server is loading its data".to_owned(),
        (ErrorKind::Server(ServerErrorKind::NoPerm), _) => "the user may not do this".to_owned(),
        (ErrorKind::Server(ServerErrorKind::MasterDown), _) => "the replica has no primary".to_owned(),
        (_, Some("BUSY")) => "a script keeps the server busy".to_owned(),
        (_, Some(code)) if code.chars().all(|c| c.is_ascii_uppercase()) => format!("the server answers with {code}"),
        _ if error.is_connection_dropped() => "the server closed the connection".to_owned(),
        _ => "the server speaks in a way that is not understood".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_is_read_line_by_line() {
        let info: HashMap<String, String> =
            lines("# Replication\r\nrole:slave\r\nmaster_host:::1\r\nconnected_slaves:0\r\n\r\n").collect();
        assert_eq!(info["role"], "slave");
        assert_eq!(info["master_host"], "::1");
        assert_eq!(figure(&info["connected_slaves"]), json!(0));
    }
}
