//! Redis: keys of the shared server for each test, or a server of one's own.

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use uuid::Uuid;

use crate::{
    Shared,
    daemon::{Daemon, Home, find, start_somewhere, until_ready},
    free_port,
};

/// The URL of the shared server.
pub fn redis_url() -> Result<String> {
    Shared::Redis.url()
}

/// A prefix of keys that nobody else uses.
pub fn redis_prefix() -> String {
    format!("t:{}:", Uuid::new_v4().simple())
}

/// A Redis server of one's own, on a free port of the loopback interface and with its data in a temporary directory.
pub struct RedisServer {
    daemon: Daemon,
    port: u16,
    durable: bool,
    // After the process, which is in it.
    home: Home,
}

impl RedisServer {
    /// Starts a server that keeps every write it has answered (append-only file).
    pub async fn start() -> Result<Self> {
        Self::start_with(true).await
    }

    /// Starts a server that forgets everything when it ends.
    pub async fn start_volatile() -> Result<Self> {
        Self::start_with(false).await
    }

    async fn start_with(durable: bool) -> Result<Self> {
        start_somewhere(async || {
            let home = Home::new("redis", None)?;
            let port = free_port()?;
            let daemon = Daemon::start(&home, command(&home, port, durable)?, Signal::SIGKILL)?;
            let mut server = RedisServer { daemon, port, durable, home };
            server.until_ready().await?;
            Ok(server)
        })
        .await
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.daemon.pid()
    }

    /// `kill -9`.
    pub async fn kill(&mut self) -> Result<()> {
        self.daemon.kill()
    }

    /// Starts again on the same port and data, killed before unless it is gone already; waits until it answers.
    pub async fn restart(&mut self) -> Result<()> {
        self.daemon.kill()?;
        self.daemon = Daemon::start(&self.home, command(&self.home, self.port, self.durable)?, Signal::SIGKILL)?;
        self.until_ready().await
    }

    async fn until_ready(&mut self) -> Result<()> {
        let port = self.port;
        until_ready(&mut self.daemon, &self.home, async || ping(port).await.is_ok_and(|answer| answer == *b"+PONG\r\n"))
            .await
    }
}

fn command(home: &Home, port: u16, durable: bool) -> Result<std::process::Command> {
    let mut command = home.command(&find("redis-server", &[], "redis-server")?)?;
    command.args(["--bind", "127.0.0.1", "--save", "", "--port"]).arg(port.to_string()).arg("--dir").arg(home.path());
    if durable {
        command.args(["--appendonly", "yes", "--appendfsync", "always"]);
    }
    Ok(command)
}

/// PING by the protocol's inline form; while it loads its data a server answers something else.
async fn ping(port: u16) -> Result<[u8; 7]> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.context("cannot reach Redis")?;
    stream.write_all(b"PING\r\n").await?;
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}
