use std::fs;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{Setup, make_database};

const TEST: &str = "/api/database/connections/test/sqlite";

fn url(setup: &Setup, file: &str) -> Value {
    json!({"url": format!("sqlite://{}", setup.path(file).display())})
}

#[tokio::test]
async fn a_test_of_configured_targets_says_how_each_went() {
    let setup = Setup::new().with_sqlite("good", "good.db").with_sqlite("gone", "gone.db");
    make_database(&setup.path("good.db")).await;
    let service = setup.start().await;
    let (status, body) = service.post(TEST, None).await;
    assert_eq!((status, &body["success"], &body["step"]), (StatusCode::OK, &json!(false), &json!("resolve")));
    assert_eq!(body["error"], "gone: the file does not exist");
    assert_eq!(body["targets"].as_array().unwrap().len(), 2);

    let (_, body) = service.post(TEST, Some(json!({"target": "good"}))).await;
    assert_eq!((&body["success"], &body["step"], &body["error"]), (&json!(true), &json!("done"), &Value::Null));
    assert!(body["latency_ms"].as_f64().unwrap() > 0.0);
    let (status, _) = service.post(TEST, Some(json!({"target": "other"}))).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn settings_can_be_tried_before_they_are_configured() {
    let service = Setup::new().start().await;
    let setup = &service.setup;
    make_database(&setup.path("new.db")).await;
    fs::write(setup.path("text.db"), "no database at all, but some text").unwrap();
    let (_, body) = service.post(TEST, Some(url(setup, "new.db"))).await;
    assert_eq!((&body["success"], &body["step"]), (&json!(true), &json!("done")), "{body}");
    let (_, body) = service.post(TEST, Some(url(setup, "no-such.db"))).await;
    assert_eq!((&body["success"], &body["step"]), (&json!(false), &json!("resolve")), "{body}");
    assert!(!setup.path("no-such.db").exists());
    let (_, body) = service.post(TEST, Some(url(setup, "text.db"))).await;
    assert_eq!((&body["success"], &body["step"]), (&json!(false), &json!("query")), "{body}");
    let connections = service.get("/api/database/connections").await;
    assert_eq!(connections["count"], 0, "what is tried is not configured");
}

#[tokio::test]
async fn a_wrong_body_names_every_wrong_field() {
    let service = Setup::new().start().await;
    let (status, body) = service.post(TEST, Some(json!({"url": 7, "target": "", "colour": "red"}))).await;
    assert_eq!((status, &body["code"]), (StatusCode::BAD_REQUEST, &json!("validation_failed")));
    assert_eq!(body["errors"].as_array().unwrap().len(), 3, "{body}");
    let (status, body) = service.post(TEST, Some(json!({"colour": "red"}))).await;
    assert_eq!((status, &body["code"]), (StatusCode::BAD_REQUEST, &json!("unknown_field")));
    for bad in ["postgres://u:hunter2@h/db", "sqlite::memory:", "/etc/passwd"] {
        let (status, body) = service.post(TEST, Some(json!({"url": bad}))).await;
        assert_eq!((status, &body["errors"][0]["field"]), (StatusCode::BAD_REQUEST, &json!("url")), "{bad}");
        assert!(!body.to_string().contains("hunter2"));
    }
}

#[tokio::test]
async fn a_kind_without_a_driver_or_a_target_is_not_tried_and_says_so() {
    let service = Setup::new().start().await;
    let (status, body) = service.post("/api/database/connections/test/nacos", Some(json!({"url": "http://h"}))).await;
    assert_eq!((status, &body["success"]), (StatusCode::OK, &json!(false)));
    assert!(body["error"].as_str().unwrap().contains("follows in a later release"), "{body}");
    let (_, body) = service.post(TEST, None).await;
    assert_eq!((&body["success"], &body["error"]), (&json!(false), &json!("no SQLite target is configured")));
    let (status, _) = service.post("/api/database/connections/test/oracle", None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn connections_are_counted_and_closed_again() {
    let setup = Setup::new().with_sqlite("store", "store.db");
    make_database(&setup.path("store.db")).await;
    let service = setup.start().await;
    let body = service
        .until("/api/database/connections", |body| body["connections"][0]["connections_total"].as_u64() >= Some(3))
        .await;
    let connection = &body["connections"][0];
    assert_eq!((&connection["name"], &connection["budget"]), (&json!("store"), &json!(1)));
    assert_eq!(connection["failures_total"], 0);
    service.until("/api/database/connections", |body| body["connections"][0]["state"] == "idle").await;
}
