//! MariaDB: a database of the shared server for each test, or a server of one's own.

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection};
use uuid::Uuid;

use crate::{
    Shared, TestDatabase,
    daemon::{Account, Daemon, Home, blocking, find, option, start_somewhere, until_ready},
    free_port,
    postgres::{Drop, with_database},
};

const PACKAGE: &str = "mariadb-server";

/// An empty database of the shared server.
pub async fn mariadb_database() -> Result<TestDatabase> {
    let server = Shared::MariaDb.url()?;
    let name = format!("t_{}", Uuid::new_v4().simple());
    let connected = MySqlConnection::connect(&server).await;
    let mut connection = connected.with_context(|| format!("cannot reach {}", Shared::MariaDb.variable()))?;
    connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await?;
    connection.close().await?;
    Ok(TestDatabase::new(with_database(&server, &name)?, Drop::MariaDb { server, name }))
}

pub(crate) async fn drop_database(server: &str, name: &str) -> Result<()> {
    let mut connection = MySqlConnection::connect(server).await?;
    // Tables of a transaction that a test left open are locked.
    connection.execute("SET lock_wait_timeout = 5").await?;
    connection.execute(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name}"))).await?;
    Ok(())
}

/// A MariaDB server of one's own, on a free port of the loopback interface and with its data in a temporary directory.
pub struct MariaDbServer {
    daemon: Daemon,
    port: u16,
    settings: Vec<String>,
    // After the process, which is in it.
    home: Home,
}

impl MariaDbServer {
    /// Starts a server that keeps what it has committed, whatever happens to it.
    pub async fn start() -> Result<Self> {
        Self::start_with(&[]).await
    }

    /// Starts a server that is quicker, because it does not wait for the disk. It survives being killed, not a power cut.
    pub async fn start_fast() -> Result<Self> {
        Self::start_with(&["--innodb-flush-log-at-trx-commit=2", "--innodb-flush-method=nosync", "--sync-binlog=0"])
            .await
    }

    async fn start_with(settings: &[&str]) -> Result<Self> {
        let settings: Vec<String> = settings.iter().map(|&setting| setting.to_owned()).collect();
        start_somewhere(async || {
            let home = blocking(initialise).await?;
            let port = free_port()?;
            let daemon = Daemon::start(&home, command(&home, port, &settings)?, Signal::SIGKILL)?;
            let mut server = MariaDbServer { daemon, port, settings: settings.clone(), home };
            server.until_ready().await?;
            Ok(server)
        })
        .await
    }

    /// The URL of the database `mysql`, as root.
    pub fn url(&self) -> String {
        format!("mysql://root@127.0.0.1:{}/mysql", self.port)
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
        self.daemon = Daemon::start(&self.home, command(&self.home, self.port, &self.settings)?, Signal::SIGKILL)?;
        self.until_ready().await
    }

    async fn until_ready(&mut self) -> Result<()> {
        let url = self.url();
        until_ready(&mut self.daemon, &self.home, async || match MySqlConnection::connect(&url).await {
            Ok(connection) => connection.close().await.is_ok(),
            Err(_) => false,
        })
        .await
    }
}

fn initialise() -> Result<Home> {
    let home = Home::new("mariadb", Account::other_than_root(&["mysql"])?)?;
    let mut command = home.command(&find("mariadb-install-db", &[], PACKAGE)?)?;
    command.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
    command.arg(option("--datadir", home.join("data")));
    home.run(command)?;
    Ok(home)
}

fn command(home: &Home, port: u16, settings: &[String]) -> Result<std::process::Command> {
    let mut command = home.command(&find("mariadbd", &[], PACKAGE)?)?;
    command.args(["--no-defaults", "--bind-address=127.0.0.1", "--max-connections=400"]);
    command.args(["--innodb-buffer-pool-size=64M", "--performance-schema=off", "--character-set-server=utf8mb4"]);
    command.arg(format!("--port={port}"));
    command.arg(option("--datadir", home.join("data")));
    // In the data directory: there is a limit to the length of a socket's path.
    command.args(["--socket=socket", "--pid-file=pid"]);
    command.args(settings);
    Ok(command)
}
