use std::path::PathBuf;

use anyhow::Result;
use nix::sys::signal::Signal;
use sqlx::{Connection, PgConnection};

use crate::{
    daemon::{Account, Daemon, Home, blocking, find, start_somewhere, until_ready},
    free_port,
};

const DIRECTORIES: [&str; 1] = ["/usr/lib/postgresql/*/bin"];
const PACKAGE: &str = "postgresql";
/// SIGQUIT is PostgreSQL's immediate shutdown: the postmaster takes its children along.
const FAREWELL: Signal = Signal::SIGQUIT;

/// A PostgreSQL server of one's own, on a free port of the loopback interface and with its data in a temporary directory.
pub struct PostgresServer {
    daemon: Daemon,
    port: u16,
    settings: Vec<String>,
    // After the process, which is in it.
    home: Home,
}

impl PostgresServer {
    /// Starts a server that keeps what it has committed, whatever happens to it.
    pub async fn start() -> Result<Self> {
        Self::start_with(&[]).await
    }

    /// Starts a server that is quicker, because it does not wait for the disk. It survives being killed, not a power cut.
    pub async fn start_fast() -> Result<Self> {
        Self::start_with(&["fsync=off", "full_page_writes=off"]).await
    }

    async fn start_with(settings: &[&str]) -> Result<Self> {
        let settings: Vec<String> = settings.iter().map(|&setting| setting.to_owned()).collect();
        start_somewhere(async || {
            let home = blocking(initialise).await?;
            let port = free_port()?;
            let daemon = Daemon::start(&home, command(&home, port, &settings)?, FAREWELL)?;
            let mut server = PostgresServer { daemon, port, settings: settings.clone(), home };
            server.until_ready().await?;
            Ok(server)
        })
        .await
    }

    /// The URL of the database `postgres`, as superuser.
    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// The process id of the postmaster.
    pub fn pid(&self) -> u32 {
        self.daemon.pid()
    }

    /// `kill -9` of the postmaster and of every process of its own: nothing is flushed and nobody is told.
    pub async fn kill(&mut self) -> Result<()> {
        self.daemon.kill()
    }

    /// Starts again on the same port and data, killed before unless it is gone already; waits until it answers.
    pub async fn restart(&mut self) -> Result<()> {
        self.daemon.kill()?;
        self.daemon = Daemon::start(&self.home, command(&self.home, self.port, &self.settings)?, FAREWELL)?;
        self.until_ready().await
    }

    async fn until_ready(&mut self) -> Result<()> {
        let url = self.url();
        until_ready(&mut self.daemon, &self.home, async || match PgConnection::connect(&url).await {
            Ok(connection) => connection.close().await.is_ok(),
            Err(_) => false,
        })
        .await
    }
}

fn data(home: &Home) -> PathBuf {
    home.join("data")
}

fn initialise() -> Result<Home> {
    let home = Home::new("postgres", Account::other_than_root(&["postgres"])?)?;
    let mut command = home.command(&find("initdb", &DIRECTORIES, PACKAGE)?)?;
    command.arg("-D").arg(data(&home));
    command.args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync"]);
    home.run(command)?;
    Ok(home)
}

fn command(home: &Home, port: u16, settings: &[String]) -> Result<std::process::Command> {
    let mut command = home.command(&find("postgres", &DIRECTORIES, PACKAGE)?)?;
    command.arg("-D").arg(data(home)).arg("-p").arg(port.to_string());
    let fixed = [
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "max_connections=400",
        "shared_buffers=64MB",
        "log_min_messages=fatal",
    ];
    for setting in fixed.into_iter().chain(settings.iter().map(String::as_str)) {
        command.args(["-c", setting]);
    }
    Ok(command)
}
