//! Servers of a test's own: they keep their data when they are killed, and leave nothing behind.

use std::{path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, Result};
use sker_testkit::{MariaDbServer, PATIENCE, PostgresServer, RabbitServer, RedisServer, eventually};
use sqlx::{Connection, Executor, MySqlConnection, PgConnection};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Nothing of a process group is left.
async fn is_gone(pid: u32) -> Result<()> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    eventually(&format!("process {pid} is gone"), async || Ok((!process.exists()).then_some(()))).await
}

/// Every process that has `mark` in its environment, as the descendants of a server have its settings.
fn processes_with(mark: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        if String::from_utf8_lossy(&environment).contains(mark) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

#[tokio::test]
async fn postgresql_keeps_what_was_committed_before_kill_9() -> Result<()> {
    let mut server = PostgresServer::start().await?;
    let url = server.url();
    let mut connection = PgConnection::connect(&url).await?;
    connection.execute("CREATE TABLE kept (n int)").await?;
    connection.execute("INSERT INTO kept VALUES (7)").await?;
    let (backend,): (i32,) = sqlx::query_as("SELECT pg_backend_pid()").fetch_one(&mut connection).await?;
    let first = server.pid();
    server.kill().await?;
    is_gone(first).await?;
    is_gone(u32::try_from(backend)?).await?;
    assert!(PgConnection::connect(&url).await.is_err(), "nobody listens");

    server.restart().await?;
    let mut connection = PgConnection::connect(&url).await?;
    let (kept,): (i32,) = sqlx::query_as("SELECT n FROM kept").fetch_one(&mut connection).await?;
    assert_eq!(kept, 7);
    let last = server.pid();
    assert_ne!(first, last);
    drop(server);
    is_gone(last).await
}

#[tokio::test]
async fn mariadb_keeps_what_was_committed_before_kill_9() -> Result<()> {
    let mut server = MariaDbServer::start().await?;
    let url = server.url();
    let mut connection = MySqlConnection::connect(&url).await?;
    connection.execute("CREATE DATABASE kept").await?;
    let first = server.pid();
    server.kill().await?;
    is_gone(first).await?;
    assert!(MySqlConnection::connect(&url).await.is_err(), "nobody listens");

    server.restart().await?;
    let mut connection = MySqlConnection::connect(&url).await?;
    connection.execute("USE kept").await?;
    let last = server.pid();
    drop(server);
    is_gone(last).await
}

/// In a process of its own of the test below.
const CHILD: &str = "SKER_TEST_SERVER_CHILD";

#[tokio::test]
async fn a_server_ends_with_a_test_that_is_killed() -> Result<()> {
    if std::env::var_os(CHILD).is_some() {
        let server = RedisServer::start().await?;
        println!("server {}.", server.pid());
        tokio::time::sleep(Duration::from_secs(1_000)).await;
    }
    let mut child = tokio::process::Command::new(std::env::current_exe()?)
        .args(["--exact", "servers::a_server_ends_with_a_test_that_is_killed", "--nocapture"])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut stdout = child.stdout.take().context("it is piped")?;
    let mut printed = String::new();
    let server: u32 = loop {
        let mut piece = [0; 256];
        let length = tokio::time::timeout(PATIENCE, stdout.read(&mut piece)).await??;
        assert_ne!(length, 0, "it ended: {printed}");
        printed += &String::from_utf8_lossy(&piece[..length]);
        if let Some((pid, _)) = printed.split_once("server ").and_then(|(_, rest)| rest.split_once('.')) {
            break pid.parse()?;
        }
    };
    child.kill().await?;
    is_gone(server).await
}

async fn redis(server: &RedisServer, command: &str) -> Result<String> {
    let address = server.url().replace("redis://", "");
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("{command}\r\n").as_bytes()).await?;
    let mut answer = vec![0; 64];
    let length = tokio::time::timeout(Duration::from_secs(60), stream.read(&mut answer)).await??;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

#[tokio::test]
async fn redis_keeps_what_it_answered_before_kill_9() -> Result<()> {
    let mut server = RedisServer::start().await?;
    assert_eq!(redis(&server, "SET kept 7").await?, "+OK\r\n");
    let first = server.pid();
    server.kill().await?;
    is_gone(first).await?;
    assert!(redis(&server, "PING").await.is_err(), "nobody listens");

    server.restart().await?;
    assert_eq!(redis(&server, "GET kept").await?, "$1\r\n7\r\n");
    let last = server.pid();
    drop(server);
    is_gone(last).await
}

#[tokio::test]
async fn rabbitmq_keeps_its_durable_queues_over_kill_9() -> Result<()> {
    let mut server = RabbitServer::start().await?;
    let vhost = server.vhost().await?;
    vhost.declare_queue("kept").await?;
    let node = format!("sker{}@", server.port());
    assert!(processes_with(&node)?.len() > 1, "the node and its helpers");
    let first = server.pid();
    server.kill().await?;
    is_gone(first).await?;
    assert!(TcpStream::connect(("127.0.0.1", server.port())).await.is_err(), "nobody listens");

    server.restart().await?;
    assert_eq!(vhost.queue("kept").await?.context("the queue is there again")?["durable"], true);
    drop(vhost);
    let last = server.pid();
    drop(server);
    is_gone(last).await?;
    eventually("its helpers are gone", async || Ok(processes_with(&node)?.is_empty().then_some(()))).await
}
