use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sker_types::Role;

use crate::support::{Setup, admin, make_database, token, user};

/// The seed's reads under `/api/database`.
const READS: [&str; 10] = [
    "/api/database/health",
    "/api/database/status",
    "/api/database/status/postgresql",
    "/api/database/connections",
    "/api/database/config",
    "/api/database/metrics",
    "/api/database/history/redis",
    "/api/database/alerts",
    "/api/database/registry/status",
    "/api/database/status/sqlite",
];

#[tokio::test]
async fn every_path_of_the_seed_answers() {
    let service = Setup::new().start().await;
    for path in READS {
        service.get(path).await;
    }
    for path in ["/", "/health", "/docs", "/api/docs", "/metrics", "/openapi.json"] {
        let (status, body) = service.send(Method::GET, path, None, None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
    }
    let (status, _) = service.post("/api/database/connections/test/postgresql", None).await;
    assert_eq!(status, StatusCode::OK);
    let (status, _) = service.post("/api/database/registry/update", Some(json!({"metadata": {}}))).await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn reads_are_for_any_user_and_tests_for_administrators() {
    let service = Setup::new().start().await;
    let expired = token(Role::User, Duration::ZERO);
    for path in READS {
        for bad in [None, Some(expired.as_str()), Some("nonsense")] {
            let (status, body) = service.send(Method::GET, path, bad, None).await;
            assert_eq!((status, &body["code"]), (StatusCode::UNAUTHORIZED, &json!("unauthenticated")), "{path}");
        }
    }
    for path in ["/api/database/connections/test/sqlite", "/api/database/registry/update"] {
        let (status, _) = service.send(Method::POST, path, None, None).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{path}");
        let (status, _) = service.send(Method::POST, path, Some(&user()), Some(json!({"metadata": {}}))).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
    }
}

#[tokio::test]
async fn a_kind_that_is_not_configured_says_so() {
    let service = Setup::new().start().await;
    let body = service.get("/api/database/status").await;
    assert_eq!(body["overall_status"], "healthy");
    let databases = body["databases"].as_object().unwrap();
    let kinds = ["elasticsearch", "milvus", "mongodb", "mysql", "nacos", "postgresql", "rabbitmq", "redis", "sqlite"];
    let mut names: Vec<&str> = databases.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, kinds);
    for kind in kinds {
        let one = service.get(&format!("/api/database/status/{kind}")).await;
        for answer in [&one, &databases[kind]] {
            assert_eq!(answer["status"], "not_configured", "{answer}");
            assert_eq!((&answer["configured"], &answer["targets"]), (&json!(false), &json!([])));
            assert!(answer["message"].as_str().unwrap().contains("is configured"), "{answer}");
        }
    }
    let (status, body) = service.send(Method::GET, "/api/database/status/oracle", Some(&user()), None).await;
    assert_eq!((status, &body["code"]), (StatusCode::NOT_FOUND, &json!("not_found")));
}

#[tokio::test]
async fn the_metrics_are_those_of_the_seed() {
    let setup = Setup::new().with_sqlite("a", "a.db").with_sqlite("b", "b.db").with_sqlite("gone", "no-such.db");
    make_database(&setup.path("a.db")).await;
    make_database(&setup.path("b.db")).await;
    let service = setup.start().await;
    let body = service
        .until("/api/database/metrics", |body| body["healthy_databases"] == 2 && body["unhealthy_databases"] == 1)
        .await;
    let mut names: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    let of_the_seed = [
        "average_response_time",
        "database_count",
        "healthy_databases",
        "overall_status",
        "unhealthy_databases",
        "uptime_percentage",
    ];
    assert_eq!(names, of_the_seed);
    assert_eq!((&body["overall_status"], &body["database_count"]), (&json!("degraded"), &json!(3)));
    let mean = body["average_response_time"].as_f64().unwrap();
    assert!(mean > 0.0 && mean < 2.5, "seconds: {mean}");
    let uptime = body["uptime_percentage"].as_f64().unwrap();
    assert!((0.0..=100.0).contains(&uptime), "{uptime}");
}

#[tokio::test]
async fn a_healthy_target_shows_its_figures() {
    let setup = Setup::new().with_sqlite("store", "store.db");
    make_database(&setup.path("store.db")).await;
    let service = setup.start().await;
    let target = service.until_target("store", "healthy").await;
    assert_eq!((&target["database_type"], &target["error"]), (&json!("sqlite"), &Value::Null));
    assert!(target["version"].as_str().unwrap().starts_with("3."), "{target}");
    assert!(target["age_ms"].is_u64() && target["latency_ms"].is_f64() && target["connect_ms"].is_f64(), "{target}");
    let details = &target["details"];
    assert_eq!((&details["tables"], &details["quick_check"]), (&json!(1), &json!("ok")));
    assert!(details["size_bytes"].as_u64().unwrap() > 0 && details["page_count"].as_u64().unwrap() > 0, "{details}");
    let body = service.get("/api/database/status/sqlite").await;
    assert_eq!((&body["status"], &body["message"]), (&json!("healthy"), &json!("1 of 1 healthy")));

    service.until("/api/database/history/sqlite", |body| body["count"].as_u64() >= Some(2)).await;
    let (_, text) = service.send(Method::GET, "/metrics", None, None).await;
    let text = text.as_str().unwrap().to_owned();
    for name in ["db_connections_total", "db_response_time_seconds_count", r#"db_up{target="store""#] {
        assert!(text.contains(name), "{name} is not in {text}");
    }
}

#[tokio::test]
async fn history_is_newest_first_and_never_more_than_a_hundred() {
    let setup = Setup::new().with("checks.recheck_ms", "50").with_sqlite("gone", "no-such.db");
    let service = setup.start().await;
    let path = "/api/database/history/sqlite";
    let body = service.until(path, |body| body["count"] == 100).await;
    let first = body["history"][99]["id"].clone();
    let body = service.until(path, |body| body["history"][99]["id"] != first).await;
    assert_eq!(body["count"], 100);
    let times: Vec<&str> =
        body["history"].as_array().unwrap().iter().map(|record| record["checked_at"].as_str().unwrap()).collect();
    assert!(times.is_sorted_by(|newer, older| newer >= older), "{times:?}");

    let body = service.get("/api/database/history/sqlite?limit=2&target=gone").await;
    assert_eq!(body["count"], 2);
    assert_eq!(body["history"][0]["error"]["step"], "resolve");
    let (status, _) = service.send(Method::GET, &format!("{path}?target=other"), Some(&user()), None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, body) = service.send(Method::GET, &format!("{path}?limit=0&colour=red"), Some(&user()), None).await;
    assert_eq!((status, body["errors"].as_array().unwrap().len()), (StatusCode::BAD_REQUEST, 2));
}

#[tokio::test]
async fn the_configuration_is_shown_without_secrets() {
    let service = Setup::new().with_sqlite("a", "a.db").start().await;
    let body = service.get("/api/database/config").await;
    assert!(!body.to_string().contains(crate::support::SECRET), "{body}");
    assert_eq!(body["targets"][0]["name"], "a");
    assert_eq!(body["checks"]["interval_ms"], 100);
    assert_eq!(body["jwt_secret"], "[redacted]");
}

#[tokio::test]
async fn the_standard_answers_are_there() {
    let service = Setup::new().start().await;
    let (_, body) = service.send(Method::GET, "/health", None, None).await;
    assert_eq!(body["service"], "database-service");
    let (_, body) = service.send(Method::GET, "/openapi.json", None, None).await;
    assert!(body["openapi"].as_str().unwrap().starts_with("3.1"), "{}", body["openapi"]);
    let paths = body["paths"].as_object().unwrap();
    for path in [
        "/",
        "/api/database/health",
        "/api/database/status",
        "/api/database/status/{type}",
        "/api/database/connections",
        "/api/database/connections/test/{type}",
        "/api/database/config",
        "/api/database/metrics",
        "/api/database/history/{type}",
        "/api/database/alerts",
        "/api/database/registry/status",
        "/api/database/registry/update",
    ] {
        assert!(paths.contains_key(path), "{path} is not described");
    }
    let (status, body) = service.send(Method::DELETE, "/api/database/status", Some(&admin()), None).await;
    assert_eq!((status, &body["code"]), (StatusCode::METHOD_NOT_ALLOWED, &json!("method_not_allowed")));
    let (status, body) = service.send(Method::GET, "/api/database/nothing", Some(&admin()), None).await;
    assert_eq!((status, &body["code"]), (StatusCode::NOT_FOUND, &json!("not_found")));
}

#[tokio::test]
async fn the_grpc_port_has_health() {
    use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
    let service = Setup::new().start().await;
    service.get("/api/database/metrics").await;
    let mut client = HealthClient::new(sker_api::grpc::channel(&format!("http://{}", service.grpc)).unwrap());
    let answer = client.check(HealthCheckRequest { service: String::new() }).await.unwrap().into_inner();
    assert_eq!(answer.status(), ServingStatus::Serving);
}
