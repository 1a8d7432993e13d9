//! Servers that do not answer: the deadline holds, and nothing is left behind.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};
use sker_testkit::{PostgresServer, RedisServer, eventually};
use sqlx::{Connection, PgConnection};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::support::{Setup, TestService, make_database};

/// How long a check may take, in milliseconds.
const DEADLINE: f64 = 200.0;

fn setup() -> Setup {
    // Every check connects, which is what could leave something behind.
    Setup::new().with("checks.deadline_ms", "200").with("checks.deep_interval_ms", "100")
}

fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.try_into().unwrap()), signal).unwrap();
}

/// Fifty checks that failed, each of them cut off at its deadline.
async fn fifty_failures(service: &TestService, kind: &str) {
    let path = format!("/api/database/history/{kind}?target=main");
    let failed = |body: &Value| -> Vec<Value> {
        let history = body["history"].as_array().cloned().unwrap_or_default();
        history.into_iter().filter(|record| record["success"] == false).collect()
    };
    let body = service.until(&path, |body| failed(body).len() >= 50).await;
    for record in failed(&body) {
        assert_eq!(record["error"]["message"], "no answer within 200 ms", "{record}");
        assert!(record["latency_ms"].as_f64() >= Some(DEADLINE), "{record}");
    }
}

#[tokio::test]
async fn a_postgresql_that_is_stopped_is_down_and_no_connection_is_left_behind() {
    let server = PostgresServer::start_fast().await.unwrap();
    let service = setup().with_target("main", "postgresql", &server.url()).start().await;
    service.until_target("main", "healthy").await;
    signal(server.pid(), Signal::SIGSTOP);
    let target = service.until_target("main", "unhealthy").await;
    assert_eq!(target["error"]["message"], "no answer within 200 ms", "{target}");
    fifty_failures(&service, "postgresql").await;
    signal(server.pid(), Signal::SIGCONT);
    service.until_target("main", "healthy").await;

    let mut connection = PgConnection::connect(&server.url()).await.unwrap();
    // What was knocked at while it was stopped is let in, looks around and goes.
    eventually("one connection is left", async || {
        let count: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sker-database-service'",
        )
        .fetch_one(&mut connection)
        .await?;
        Ok((count <= 1).then_some(()))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_redis_that_is_stopped_is_down_and_slows_nobody_else_down() {
    let server = RedisServer::start_volatile().await.unwrap();
    let setup = setup().with_sqlite("beside", "beside.db").with_target("main", "redis", &server.url());
    make_database(&setup.path("beside.db")).await;
    let service = setup.start().await;
    service.until_target("main", "healthy").await;
    signal(server.pid(), Signal::SIGSTOP);
    let target = service.until_target("main", "unhealthy").await;
    assert_eq!(target["error"]["message"], "no answer within 200 ms", "{target}");
    fifty_failures(&service, "redis").await;
    let beside = service.until_target("beside", "healthy").await;
    assert_eq!(beside["consecutive_failures"], 0);
    signal(server.pid(), Signal::SIGCONT);
    service.until_target("main", "healthy").await;

    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    eventually("one connection is left, and this one", async || {
        let clients: String = redis::cmd("CLIENT").arg("LIST").query_async(&mut connection).await?;
        Ok((clients.lines().count() <= 2).then_some(()))
    })
    .await
    .unwrap();
}

/// Takes connections and says nothing.
struct Silent {
    url: String,
    taken: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Silent {
    async fn start(scheme: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("{scheme}://u:p@{}", listener.local_addr().unwrap());
        let (taken, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut tasks = JoinSet::new();
        let (counted, held) = (taken.clone(), open.clone());
        tasks.spawn(async move {
            let mut clients = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                held.fetch_add(1, Ordering::SeqCst);
                clients.spawn(until_gone(client, held.clone()));
            }
        });
        Silent { url, taken, open, _tasks: tasks }
    }
}

async fn until_gone(mut client: TcpStream, held: Arc<AtomicUsize>) {
    let mut buffer = [0; 1024];
    while client.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
    held.fetch_sub(1, Ordering::SeqCst);
}

/// lapin gives every connection a thread, which must end with it.
fn threads_of_lapin() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.starts_with("lapin-io-loop")).count()
}

#[tokio::test]
async fn a_server_that_says_nothing_is_left_by_every_check_that_gives_up() {
    tokio::join!(
        left_behind("postgresql", "postgres", "connect"),
        left_behind("mysql", "mysql", "connect"),
        left_behind("redis", "redis", "connect"),
        left_behind("rabbitmq", "amqp", "authenticate"),
    );
    // Other tests of this process have a few.
    eventually("threads have ended", async || Ok((threads_of_lapin() < 15).then_some(()))).await.unwrap();
}

async fn left_behind(kind: &str, scheme: &str, step: &str) {
    let server = Silent::start(scheme).await;
    let service = setup().with_target("main", kind, &server.url).start().await;
    fifty_failures(&service, kind).await;
    assert!(server.taken.load(Ordering::SeqCst) >= 50, "{kind}");
    let target = service.until_target("main", "unhealthy").await;
    assert_eq!(target["error"]["step"], json!(step), "{kind}");
    let left = async || Ok((server.open.load(Ordering::SeqCst) <= 2).then_some(()));
    eventually("no more than the last checks are there", left).await.unwrap();
    service.stop().await;
    let gone = async || Ok((server.open.load(Ordering::SeqCst) == 0).then_some(()));
    eventually("all have left", gone).await.unwrap();
}

#[tokio::test]
async fn a_service_stops_while_a_check_hangs() {
    let server = Silent::start("amqp").await;
    let setup = Setup::new().with("checks.deadline_ms", "60000").with_target("main", "rabbitmq", &server.url);
    let service = setup.start().await;
    let knocked = async || Ok((server.taken.load(Ordering::SeqCst) > 0).then_some(()));
    eventually("the check has begun", knocked).await.unwrap();
    tokio::time::timeout(Duration::from_secs(30), service.stop()).await.expect("it does not wait for the check");
}
