//! What all that is kept on Redis shares: connections, deadlines, and what to do when the server is away.

mod circuit;
mod config;
mod lane;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use circuit::Circuit;
pub use config::RedisConfig;
use lane::{Lane, Link};
use redis::{Client, ErrorKind, FromRedisValue, Pipeline, RedisError, Script, ServerErrorKind};
use sker_error::{Error, Result};

/// Connections to a Redis server (6 or later). Cheap to clone; connects when first used.
///
/// A command takes the configured time at most, connecting included. A server that does not answer is asked by one command
/// at a time, after a pause; the others fail at once with `unavailable`.
///
/// A user of the server's own (ACL) needs these commands on the keys with the prefix: `+@connection +info +get +set +unlink
/// +incrby +hget +hmget +hset +hdel +hincrby +pttl +pexpire +time +evalsha +script|load`.
#[derive(Clone)]
pub struct Redis {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    lanes: Vec<Lane>,
    next_lane: AtomicUsize,
    timeout: Duration,
    circuit: Circuit,
    key_prefix: String,
}

/// Commands that are sent together, each of which may be repeated when it is not known whether it was carried out.
pub(crate) struct Request<'a, Build> {
    /// Makes the commands. It is given the name of the server's run.
    pub(crate) commands: Build,
    /// The script that they call, if they do: a server that does not know it is given it.
    pub(crate) script: Option<&'a Script>,
    /// Whether being carried out twice does no harm.
    pub(crate) repeatable: bool,
}

/// Why there is no answer.
enum Failure {
    /// No connection, or none any more.
    Away(RedisError),
    /// The server has answered that it will not.
    Refused(RedisError),
}

impl Redis {
    /// Connections that are not made yet.
    ///
    /// # Errors
    /// `invalid_request` for a configuration with [faults](RedisConfig::faults).
    pub fn new(config: &RedisConfig) -> Result<Self> {
        let client = Client::open(config.connection_info()?).map_err(Error::internal)?;
        let timeout = Duration::from_millis(config.timeout_ms);
        Ok(Redis {
            shared: Arc::new(Shared {
                client,
                lanes: (0..config.max_connections).map(|_| Lane::default()).collect(),
                next_lane: AtomicUsize::new(0),
                timeout,
                circuit: Circuit::new(timeout),
                key_prefix: config.key_prefix.trim_end_matches(':').to_owned(),
            }),
        })
    }

    /// Whether the server answers.
    ///
    /// # Errors
    /// `unavailable` when it does not.
    pub async fn ping(&self) -> Result<()> {
        let request = Request { commands: |_: &str| one(redis::cmd("PING")), script: None, repeatable: true };
        self.ask::<(String,), _>(request).await.map(|_| ())
    }

    /// The key of a name among those of a kind.
    pub(crate) fn key(&self, kind: &str, name: &str) -> String {
        format!("{}:{kind}:{name}", self.shared.key_prefix)
    }

    /// Sends commands and reads their answers.
    pub(crate) async fn ask<T, Build>(&self, request: Request<'_, Build>) -> Result<T>
    where
        T: FromRedisValue,
        Build: Fn(&str) -> Pipeline,
    {
        let circuit = &self.shared.circuit;
        let pass = circuit
            .enter()
            .map_err(|pause| Error::unavailable("Redis is away").with_retry_after_ms(pause.as_millis() as u64))?;
        let lane = self.lane();
        let mut link = lane.link();
        let outcome = match tokio::time::timeout(self.shared.timeout, self.attempts(lane, &mut link, &request)).await {
            Ok(outcome) => outcome,
            Err(_) => {
                // What was sent may still be under way, to a server that may be cut off: the next try starts afresh.
                lane.replace(&link);
                Err(Failure::Away(RedisError::from((ErrorKind::Io, "no answer in time"))))
            }
        };
        match outcome {
            Ok(answer) => {
                self.answered();
                Ok(answer)
            }
            Err(Failure::Refused(error)) => {
                self.answered();
                Err(Error::unavailable("Redis refused a command").with_cause(error))
            }
            Err(Failure::Away(error)) => {
                if circuit.failed(pass) {
                    tracing::warn!(error = %error, "Redis is away");
                }
                Err(Error::unavailable("Redis is away").with_cause(error))
            }
        }
    }

    /// Sends commands, again when that can help and does no harm.
    async fn attempts<T, Build>(
        &self,
        lane: &Lane,
        link: &mut Arc<Link>,
        request: &Request<'_, Build>,
    ) -> std::result::Result<T, Failure>
    where
        T: FromRedisValue,
        Build: Fn(&str) -> Pipeline,
    {
        let (mut may_reconnect, mut may_load) = (true, true);
        loop {
            let mut connected = link.connected(&self.shared.client).await.map_err(Failure::Away)?;
            let commands = (request.commands)(&connected.server_run);
            let error = match commands.query_async::<T>(&mut connected.connection).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            match (error.kind(), request.script) {
                // The server was restarted, or its scripts were flushed.
                (ErrorKind::Server(ServerErrorKind::NoScript), Some(script)) if may_load => {
                    may_load = false;
                    script.load_async(&mut connected.connection).await.map_err(failure)?;
                }
                // It has become another server's replica and has carried nothing out: the name may lead elsewhere now.
                (ErrorKind::Server(ServerErrorKind::ReadOnly), _) if may_reconnect => {
                    may_reconnect = false;
                    lane.replace(link);
                    *link = lane.link();
                }
                _ if error.is_unrecoverable_error() => {
                    lane.replace(link);
                    if !(may_reconnect && request.repeatable) {
                        return Err(Failure::Away(error));
                    }
                    may_reconnect = false;
                    *link = lane.link();
                }
                _ => return Err(Failure::Refused(error)),
            }
        }
    }

    fn answered(&self) {
        if self.shared.circuit.answered() {
            tracing::info!("Redis is back");
        }
    }

    fn lane(&self) -> &Lane {
        let lanes = &self.shared.lanes;
        &lanes[self.shared.next_lane.fetch_add(1, Ordering::Relaxed) % lanes.len()]
    }
}

/// Without the address, whose user part may hold a password.
impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("key_prefix", &self.shared.key_prefix).finish_non_exhaustive()
    }
}

/// A single command.
pub(crate) fn one(command: redis::Cmd) -> Pipeline {
    let mut commands = Pipeline::with_capacity(1);
    commands.add_command(command);
    commands
}

fn failure(error: RedisError) -> Failure {
    if error.is_unrecoverable_error() { Failure::Away(error) } else { Failure::Refused(error) }
}
