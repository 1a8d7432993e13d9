use reqwest::StatusCode;
use serde_json::{Value, json};
use sker_testkit::Shared;

use crate::support::{Setup, TestService};

/// Kinds with a server that every test shares.
pub const KINDS: [(&str, Shared); 4] = [
    ("postgresql", Shared::Postgres),
    ("mysql", Shared::MariaDb),
    ("redis", Shared::Redis),
    ("rabbitmq", Shared::RabbitMq),
];

pub fn url_of(server: Shared) -> String {
    server.url().unwrap()
}

fn setup() -> Setup {
    let setup =
        KINDS.iter().fold(Setup::new(), |setup, (kind, server)| setup.with_target(kind, kind, &url_of(*server)));
    setup.with("targets.rabbitmq.management_url", &url_of(Shared::RabbitMqManagement))
}

async fn test(service: &TestService, kind: &str, body: Option<Value>) -> Value {
    let (status, body) = service.post(&format!("/api/database/connections/test/{kind}"), body).await;
    assert_eq!(status, StatusCode::OK, "{kind}: {body}");
    body
}

#[tokio::test]
async fn every_kind_of_server_is_healthy_and_says_who_it_is() {
    let service = setup().start().await;
    for (kind, _) in KINDS {
        let target = service.until_target(kind, "healthy").await;
        let version = target["version"].as_str().unwrap_or_default();
        assert!(version.starts_with(|c: char| c.is_ascii_digit()) && version.contains('.'), "{target}");
        assert!(target["uptime_s"].is_u64(), "{target}");
        assert!(target["latency_ms"].as_f64() > Some(0.0) && target["connect_ms"].as_f64() > Some(0.0), "{target}");
        let role = if kind == "rabbitmq" { Value::Null } else { json!("primary") };
        assert_eq!((&target["role"], &target["error"]), (&role, &Value::Null), "{target}");
    }
    let body = service.get("/api/database/status").await;
    assert_eq!(body["overall_status"], "healthy");
    for (kind, _) in KINDS {
        assert_eq!(body["databases"][kind]["message"], "1 of 1 healthy");
        assert_eq!(service.get(&format!("/api/database/status/{kind}")).await["status"], "healthy");
    }
    let figure = |kind: &str, name: &str| body["databases"][kind]["targets"][0]["details"][name].clone();
    assert_eq!(figure("mysql", "product"), "MariaDB");
    assert_eq!(figure("redis", "redis_mode"), "standalone");
    assert!(figure("rabbitmq", "node").as_str().unwrap().contains('@'));
}

#[tokio::test]
async fn a_connection_is_kept_between_checks() {
    let service = setup().start().await;
    for (kind, _) in KINDS {
        let history = format!("/api/database/history/{kind}");
        service.until(&history, |body| body["count"].as_u64() >= Some(10)).await;
        service.until_target(kind, "healthy").await;
    }
    let body = service.get("/api/database/connections").await;
    for connection in body["connections"].as_array().unwrap() {
        assert_eq!((&connection["budget"], &connection["open"]), (&json!(1), &json!(1)), "{connection}");
        assert_eq!((&connection["connections_total"], &connection["failures_total"]), (&json!(1), &json!(0)));
    }
}

#[tokio::test]
async fn configured_targets_and_given_settings_can_be_tested() {
    let service = setup().start().await;
    for (kind, server) in KINDS {
        for body in [None, Some(json!({"target": kind})), Some(json!({"url": url_of(server)}))] {
            let report = test(&service, kind, body).await;
            assert_eq!((&report["success"], &report["step"]), (&json!(true), &json!("done")), "{kind}: {report}");
            assert!(report["latency_ms"].as_f64() > Some(0.0), "{report}");
        }
    }
    let management = json!({"url": url_of(Shared::RabbitMq), "management_url": url_of(Shared::RabbitMqManagement)});
    assert_eq!(test(&service, "rabbitmq", Some(management)).await["step"], "done");
}

#[tokio::test]
async fn a_test_that_fails_names_the_step() {
    let service = Setup::new().start().await;
    let port = sker_testkit::free_port().unwrap();
    for (kind, scheme) in [("postgresql", "postgres"), ("mysql", "mysql"), ("redis", "redis"), ("rabbitmq", "amqp")] {
        let refused = json!({"url": format!("{scheme}://u:hunter2@127.0.0.1:{port}")});
        let report = test(&service, kind, Some(refused)).await;
        assert_eq!((&report["success"], &report["step"]), (&json!(false), &json!("connect")), "{kind}: {report}");
        assert_eq!(report["error"], "the server refuses connections");
        let unknown = json!({"url": format!("{scheme}://u:hunter2@no-such-host.invalid")});
        let report = test(&service, kind, Some(unknown)).await;
        assert_eq!((&report["success"], &report["step"]), (&json!(false), &json!("resolve")), "{kind}: {report}");
        assert_eq!(report["error"], "the host is not known");
        let wrong = Some(json!({"url": format!("{scheme}://u:hunter2@h:port")}));
        let (status, body) = service.post(&format!("/api/database/connections/test/{kind}"), wrong).await;
        assert_eq!((status, &body["errors"][0]["field"]), (StatusCode::BAD_REQUEST, &json!("url")), "{body}");
        assert!(!body.to_string().contains("hunter2"), "{body}");
    }
}

#[tokio::test]
async fn a_server_without_tls_that_shall_have_it_fails_at_that_step() {
    let service = Setup::new().start().await;
    // Not Redis: it waits for the end of a command, which a TLS client never sends.
    for (kind, url) in [
        ("postgresql", format!("{}?sslmode=require", url_of(Shared::Postgres))),
        ("mysql", format!("{}?ssl-mode=REQUIRED", url_of(Shared::MariaDb))),
        ("rabbitmq", url_of(Shared::RabbitMq).replacen("amqp:", "amqps:", 1)),
    ] {
        let report = test(&service, kind, Some(json!({"url": url}))).await;
        assert_eq!((&report["success"], &report["step"]), (&json!(false), &json!("tls")), "{kind}: {report}");
    }
}

#[tokio::test]
async fn a_management_api_is_for_rabbitmq_and_must_answer() {
    let service = Setup::new().start().await;
    let port = sker_testkit::free_port().unwrap();
    let away = json!({"url": url_of(Shared::RabbitMq), "management_url": format!("http://127.0.0.1:{port}")});
    let report = test(&service, "rabbitmq", Some(away)).await;
    assert_eq!((&report["step"], &report["success"]), (&json!("connect"), &json!(false)), "{report}");
    assert_eq!(report["error"], "the management API: the server refuses connections");
    for (kind, body) in [
        ("redis", json!({"url": "redis://h", "management_url": "http://h"})),
        ("rabbitmq", json!({"url": "amqp://h", "management_url": "amqp://h"})),
        ("rabbitmq", json!({"management_url": "http://h"})),
    ] {
        let (status, body) = service.post(&format!("/api/database/connections/test/{kind}"), Some(body)).await;
        assert_eq!(
            (status, &body["errors"][0]["field"]),
            (StatusCode::BAD_REQUEST, &json!("management_url")),
            "{body}"
        );
    }
}
