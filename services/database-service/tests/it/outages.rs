//! Servers that are killed and come back. Each test kills one of its own.

use serde_json::{Value, json};
use sker_testkit::{MariaDbServer, PostgresServer, RabbitServer, RedisServer};

use crate::support::{Setup, TestService, make_database};

/// A service that watches the server, and a file beside it.
async fn watching(kind: &str, url: &str) -> TestService {
    let setup = Setup::new().with_sqlite("beside", "beside.db").with_target("main", kind, url);
    make_database(&setup.path("beside.db")).await;
    let service = setup.start().await;
    service.until_target("main", "healthy").await;
    service
}

async fn assert_down(service: &TestService) {
    let target = service.until_target("main", "unhealthy").await;
    assert!(target["consecutive_failures"].as_u64() >= Some(3), "{target}");
    // Processes of a server that was killed may hold its port for a moment longer.
    let refused = json!({"step": "connect", "message": "the server refuses connections"});
    let is_refused = |body: &Value| {
        body["targets"].as_array().is_some_and(|targets| targets.iter().any(|target| target["error"] == refused))
    };
    service.until("/api/database/health", is_refused).await;
    let alerts = service.get("/api/database/alerts").await;
    assert_eq!((&alerts["count"], &alerts["alerts"][0]["target"]), (&json!(1), &json!("main")));
    service.until_target("beside", "healthy").await;
    assert_eq!(service.get("/api/database/health").await["overall_status"], "degraded");
}

async fn assert_well_again(service: &TestService) {
    let target = service.until_target("main", "healthy").await;
    assert!(target["consecutive_successes"].as_u64() >= Some(2), "{target}");
    assert_eq!((&target["error"], &target["failing_since"]), (&Value::Null, &Value::Null));
    assert_eq!(service.get("/api/database/alerts").await["count"], 0);
}

#[tokio::test]
async fn a_killed_postgresql_is_down_and_well_again_when_it_is_back() {
    let mut server = PostgresServer::start().await.unwrap();
    let service = watching("postgresql", &server.url()).await;
    server.kill().await.unwrap();
    assert_down(&service).await;
    server.restart().await.unwrap();
    assert_well_again(&service).await;
}

#[tokio::test]
async fn a_killed_mariadb_is_down_and_well_again_when_it_is_back() {
    let mut server = MariaDbServer::start().await.unwrap();
    let service = watching("mysql", &server.url()).await;
    server.kill().await.unwrap();
    assert_down(&service).await;
    server.restart().await.unwrap();
    assert_well_again(&service).await;
}

#[tokio::test]
async fn a_killed_redis_is_down_and_well_again_when_it_is_back() {
    let mut server = RedisServer::start().await.unwrap();
    let service = watching("redis", &server.url()).await;
    server.kill().await.unwrap();
    assert_down(&service).await;
    server.restart().await.unwrap();
    assert_well_again(&service).await;
}

#[tokio::test]
async fn a_killed_rabbitmq_is_down_and_well_again_when_it_is_back() {
    let mut server = RabbitServer::start().await.unwrap();
    let service = watching("rabbitmq", &server.url()).await;
    server.kill().await.unwrap();
    assert_down(&service).await;
    server.restart().await.unwrap();
    assert_well_again(&service).await;
}

#[tokio::test]
async fn a_kept_connection_that_the_server_ends_is_no_failure_of_the_server() {
    let server = RedisServer::start_volatile().await.unwrap();
    let service = Setup::new().with_target("main", "redis", &server.url()).start().await;
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let kept = |body: &Value, number: u64| {
        let connection = &body["connections"][0];
        connection["connections_total"] == number && connection["state"] == "connected"
    };
    for number in 1..=5 {
        service.until("/api/database/connections", |body| kept(body, number)).await;
        let kill = redis::cmd("CLIENT").arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"]).to_owned();
        let _: i64 = kill.query_async(&mut connection).await.unwrap();
    }
    let body = service.until("/api/database/connections", |body| kept(body, 6)).await;
    assert_eq!(body["connections"][0]["failures_total"], 0, "{body}");
    let history = service.get("/api/database/history/redis?target=main").await;
    assert!(history["history"].as_array().unwrap().iter().all(|record| record["success"] == true), "{history}");
}
