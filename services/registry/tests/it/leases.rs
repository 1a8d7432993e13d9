use anyhow::Result;
use reqwest::Method;
use serde_json::json;
use sker_testkit::eventually;

use crate::support::{instance, instance_with, start};

#[tokio::test]
async fn an_instance_that_falls_silent_is_unhealthy_then_gone() -> Result<()> {
    let (server, _directory) = start().await?;
    let short = json!({"heartbeatIntervalSeconds": 1, "heartbeatTimeoutSeconds": 1, "evictAfterSeconds": 2});
    let id =
        server.register(&instance_with("a", 7001, short)).await?["instanceId"].as_str().unwrap_or_default().to_owned();
    // Following by blocking reads, every state is seen.
    let (mut states, mut index) = (Vec::new(), String::new());
    eventually("the instance is gone", async || {
        let answer = server.discover("a", &format!("?wait=10s&index={index}")).await?.expect(200)?;
        index = answer.string("revision")?;
        let health = answer.body["instances"][0]["healthStatus"].as_str().map(str::to_owned);
        let gone = health.is_none();
        states.push(health.unwrap_or_else(|| "gone".to_owned()));
        Ok(gone.then_some(()))
    })
    .await?;
    assert_eq!(states, ["HEALTHY", "UNHEALTHY", "gone"]);
    let beat = server.api.request(Method::PUT, &format!("/api/v1/instances/{id}/heartbeat"));
    server.api.send(beat).await?.expect_problem(404, "not_found")?;
    server.stop().await
}

#[tokio::test]
async fn heartbeats_in_a_batch_name_who_must_register_again() -> Result<()> {
    let (server, _directory) = start().await?;
    let mut ids = Vec::new();
    for port in 7001..7004 {
        ids.push(server.register(&instance("a", port)).await?["instanceId"].clone());
    }
    let unknown = [json!("no-such-id"), json!("0198c0de-0000-7000-8000-000000000000")];
    let body = json!({"instanceIds": ids.iter().chain(&unknown).collect::<Vec<_>>()});
    let answer = server.api.post("/api/v1/instances/heartbeats", &body).await?.expect(200)?;
    assert_eq!(answer.body, json!({"renewed": 3, "unknown": unknown}));
    server.api.post("/api/v1/instances/heartbeats", &json!({})).await?.expect_problem(400, "validation_failed")?;
    server.stop().await
}

#[tokio::test]
async fn a_heartbeat_may_say_how_busy_the_instance_is() -> Result<()> {
    let (server, _directory) = start().await?;
    let id = server.register(&instance("a", 7001)).await?["instanceId"].as_str().unwrap_or_default().to_owned();
    let path = format!("/api/v1/instances/{id}");
    let beat = server.api.put(&format!("{path}/heartbeat"), &json!({"activeConnections": 12})).await?.expect(200)?;
    assert_eq!(beat.body["activeConnections"], 12);
    assert_eq!(server.api.get(&path).await?.expect(200)?.body["activeConnections"], 12);
    let wrong = server.api.put(&format!("{path}/heartbeat"), &json!({"activeConnections": -1})).await?;
    wrong.expect_problem(400, "validation_failed")?;
    server.stop().await
}

#[tokio::test]
async fn an_operators_word_outlives_what_the_instance_says() -> Result<()> {
    let (server, _directory) = start().await?;
    let id = server.register(&instance("a", 7001)).await?["instanceId"].as_str().unwrap_or_default().to_owned();
    let status = format!("/api/v1/instances/{id}/status");
    let answer = server.api.put(&status, &json!({"instanceStatus": "OUT_OF_SERVICE"})).await?.expect(200)?;
    assert_eq!(
        (&answer.body["instanceStatus"], &answer.body["statusOverride"]),
        (&json!("OUT_OF_SERVICE"), &json!("OUT_OF_SERVICE"))
    );
    let again = server.register(&instance_with("a", 7001, json!({"instanceStatus": "UP", "weightValue": 7}))).await?;
    assert_eq!((&again["instanceStatus"], &again["weightValue"]), (&json!("OUT_OF_SERVICE"), &json!(7)));
    let lifted = server.api.delete(&status).await?.expect(200)?;
    assert_eq!((&lifted.body["instanceStatus"], &lifted.body["statusOverride"]), (&json!("UP"), &json!(null)));
    server.api.put(&status, &json!({"instanceStatus": "AWAY"})).await?.expect_problem(400, "validation_failed")?;
    server.api.put(&status, &json!({})).await?.expect_problem(400, "validation_failed")?;
    server.stop().await
}

#[tokio::test]
async fn a_reported_health_is_what_discovery_says() -> Result<()> {
    let (server, _directory) = start().await?;
    let id = server.register(&instance("a", 7001)).await?["instanceId"].as_str().unwrap_or_default().to_owned();
    let health = format!("/api/v1/instances/{id}/health");
    server.api.put(&health, &json!({"healthStatus": "UNHEALTHY"})).await?.expect(200)?;
    let found = server.discover("a", "?health=UNHEALTHY").await?.expect(200)?;
    assert_eq!(found.body["instances"][0]["healthStatus"], "UNHEALTHY");
    server.api.put(&health, &json!({"healthStatus": "healthy"})).await?.expect(200)?;
    assert_eq!(server.discover("a", "?health=UNHEALTHY").await?.expect(200)?.body["instances"], json!([]));
    server.stop().await
}
