//! The examples of seeds/service-registry.md, as printed.

use anyhow::Result;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{in_tenant, ports, start};

fn seed_instance() -> Value {
    json!({
        "serviceName": "user-service",
        "groupName": "business",
        "hostAddress": "192.168.1.100",
        "portNumber": 8080,
        "contextPath": "/api/v1",
        "instanceStatus": "UP",
        "healthStatus": "HEALTHY",
        "weightValue": 100,
        "clientType": "SERVICE",
        "metadataJson": "{\"version\":\"1.0.0\",\"protocol\":\"http\"}",
        "tagsJson": "[\"production\",\"stable\"]"
    })
}

#[tokio::test]
async fn the_seeds_examples_work_as_printed() -> Result<()> {
    let (server, _directory) = start().await?;
    let api = &server.api;
    let answer =
        in_tenant(api, Method::POST, "/api/v1/instances", "default", Some(&seed_instance())).await?.expect(201)?;
    let id = answer.string("serviceInstanceId")?;
    assert_eq!(answer.header("location"), Some(format!("/api/v1/instances/{id}").as_str()));
    assert_eq!(answer.body["instanceId"], id.as_str());
    for (field, value) in seed_instance().as_object().expect("an object") {
        if !field.ends_with("Json") {
            assert_eq!(&answer.body[field], value, "{field}");
        }
    }
    assert_eq!(answer.body["metadata"], json!({"version": "1.0.0", "protocol": "http"}));
    assert_eq!(answer.body["tags"], json!(["production", "stable"]));
    let metadata: Value = serde_json::from_str(&answer.string("metadataJson")?)?;
    assert_eq!(metadata, answer.body["metadata"]);
    assert_eq!(answer.string("tagsJson")?, "[\"production\",\"stable\"]");

    let query = "/api/v1/services/user-service/instances?groupName=business&status=UP&health=HEALTHY";
    let found = in_tenant(api, Method::GET, query, "default", None).await?.expect(200)?;
    assert_eq!(ports(&found), [8080]);
    assert_eq!(found.body["serviceName"], "user-service");
    assert_eq!((&found.body["groupName"], &found.body["protected"]), (&json!("business"), &json!(false)));
    assert!(found.body["revision"].is_string());

    let beat = format!("/api/v1/instances/{id}/heartbeat");
    in_tenant(api, Method::PUT, &beat, "default", None).await?.expect(200)?;

    let group = json!({
        "groupName": "business",
        "groupDescription": "业务服务分组",
        "groupType": "BUSINESS",
        "ownerUserId": "admin",
        "accessControlEnabled": "Y",
        "defaultProtocolType": "HTTP",
        "defaultLoadBalanceStrategy": "ROUND_ROBIN",
        "defaultHealthCheckUrl": "/health",
        "defaultHealthCheckIntervalSeconds": 30
    });
    let answer = in_tenant(api, Method::POST, "/api/v1/groups", "default", Some(&group)).await?.expect(201)?;
    for (field, value) in group.as_object().expect("an object") {
        assert_eq!(&answer.body[field], value, "{field}");
    }
    in_tenant(api, Method::POST, "/api/v1/groups", "default", Some(&group)).await?.expect_problem(409, "conflict")?;
    // Access control is the group's own wish, but without authentication there is nobody to tell from anybody.
    in_tenant(api, Method::POST, "/api/v1/instances", "default", Some(&seed_instance())).await?.expect(200)?;

    in_tenant(api, Method::DELETE, &format!("/api/v1/instances/{id}"), "default", None).await?.expect(204)?;
    in_tenant(api, Method::PUT, &beat, "default", None).await?.expect_problem(404, "not_found")?;
    server.stop().await
}

#[tokio::test]
async fn every_path_of_the_seed_that_is_there_answers_and_the_later_ones_do_not() -> Result<()> {
    let (server, _directory) = start().await?;
    server.register(&seed_instance()).await?;
    for path in [
        "/health",
        "/ready",
        "/metrics",
        "/openapi.json",
        "/docs",
        "/api/docs",
        "/api/v1/services",
        "/api/v1/groups",
        "/api/v1/services/user-service?groupName=business",
        "/api/v1/groups/business",
        "/api/v1/groups/business/services",
        "/api/v1/stats",
        "/api/v1/stats/instances",
        "/api/v1/stats/health",
        "/api/v1/events",
    ] {
        let answer = server.api.get(path).await?;
        assert!(answer.status.is_success() || answer.status.is_redirection(), "{path}: {}", answer.text);
    }
    for path in ["/api/v1/external/configs", "/api/v1/services/user-service/instances/select", "/api/v1/nothing"] {
        server.api.get(path).await?.expect_problem(404, "not_found")?;
    }
    let answer = server.api.put("/api/v1/instances", &json!({})).await?.expect_problem(405, "method_not_allowed")?;
    assert!(answer.header("allow").is_some_and(|allow| allow.contains("POST")), "{:?}", answer.headers);

    let document = server.api.get("/openapi.json").await?.expect(200)?.body;
    let described = document["paths"].as_object().expect("paths");
    for path in [
        "/api/v1/instances",
        "/api/v1/services/{serviceName}/instances",
        "/api/v1/groups/{groupName}",
        "/api/v1/events",
    ] {
        assert!(described.contains_key(path), "{path} is not described");
    }
    server.stop().await
}

#[tokio::test]
async fn an_unknown_field_is_named_and_every_wrong_one_refused_at_once() -> Result<()> {
    let (server, _directory) = start().await?;
    let mut body = seed_instance();
    body["zone"] = json!("a");
    let answer = server.api.post("/api/v1/instances", &body).await?.expect(201)?;
    assert_eq!(answer.header("x-ignored-fields"), Some("zone"));
    body["portNumber"] = json!(70_000);
    body["weightValue"] = json!(0);
    body["healthStatus"] = json!("GREAT");
    let answer = server.api.post("/api/v1/instances", &body).await?.expect_problem(400, "validation_failed")?;
    assert_eq!(answer.field_errors(), ["portNumber", "healthStatus", "weightValue"]);
    server.stop().await
}

#[tokio::test]
async fn an_instance_as_it_was_answered_may_be_sent_back() -> Result<()> {
    let (server, _directory) = start().await?;
    let first = server.register(&seed_instance()).await?;
    let again = server.api.post("/api/v1/instances", &first).await?.expect(200)?;
    assert_eq!(again.body["serviceInstanceId"], first["serviceInstanceId"]);
    assert_eq!(again.body["revision"], first["revision"], "nothing has changed");
    server.stop().await
}
