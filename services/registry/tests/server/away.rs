//! The whole registry with its database's server killed and started again.

use anyhow::Result;
use serde_json::json;

use crate::{
    backend::Outage,
    process::{self, until_ready},
    support::{Server, instance, instance_with, ports},
};

async fn health(server: &Server) -> Result<String> {
    server.api.get("/health").await?.expect(200)?.string("status")
}

#[tokio::test(flavor = "multi_thread")]
async fn with_its_server_killed_the_registry_answers_and_writes_later_what_was_missed() -> Result<()> {
    let mut outage = Outage::new().await?;
    let server = Server::open(&outage.url(), &[]).await?;
    let id = server.register(&instance("a", 7001)).await?["instanceId"].as_str().unwrap_or_default().to_owned();
    outage.begin().await?;

    server.api.post("/api/v1/instances", &instance("a", 7002)).await?.expect(201)?;
    assert_eq!(ports(&server.discover("a", "").await?.expect(200)?), [7001, 7002]);
    server.api.put(&format!("/api/v1/instances/{id}/heartbeat"), &json!({})).await?.expect(200)?;
    let persistent = instance_with("b", 7003, json!({"ephemeral": false}));
    server.api.post("/api/v1/instances", &persistent).await?.expect_problem(503, "unavailable")?;
    server.api.get("/api/v1/events").await?.expect_problem(503, "unavailable")?;
    server.api.delete(&format!("/api/v1/instances/{id}")).await?.success()?;
    sker_testkit::eventually("health tells of it", async || Ok((health(&server).await? == "degraded").then_some(())))
        .await?;
    server.api.get("/ready").await?.expect(200)?;

    outage.end().await?;
    sker_testkit::eventually("what was missed is written", async || {
        let metrics = server.api.get("/metrics").await?.expect(200)?.text;
        let written = metrics.lines().any(|line| line.starts_with("registry_unstored_rows") && line.ends_with(" 0"));
        Ok((written && health(&server).await? == "healthy").then_some(()))
    })
    .await?;
    server.api.post("/api/v1/instances", &persistent).await?.expect(201)?;
    server.stop().await?;
    let server = Server::open(&outage.url(), &[]).await?;
    assert_eq!(ports(&server.discover("a", "").await?.expect(200)?), [7002], "gone stays gone, new stays");
    assert_eq!(ports(&server.discover("b", "").await?.expect(200)?), [7003]);
    let events = server.api.get("/api/v1/events?serviceName=a").await?.expect(200)?.body;
    let kinds: Vec<_> = events["events"].as_array().into_iter().flatten().map(|event| &event["eventType"]).collect();
    assert_eq!(kinds, ["INSTANCE_DEREGISTERED", "INSTANCE_REGISTERED", "INSTANCE_REGISTERED"]);
    server.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_waits_for_a_database_that_starts_after_it() -> Result<()> {
    let mut outage = Outage::new().await?;
    outage.begin().await?;
    let directory = tempfile::tempdir()?;
    let kind = if outage.url().starts_with("mysql") { "mysql" } else { "postgresql" };
    let (_program, api) = process::start(directory.path(), (kind, outage.url()))?;
    outage.end().await?;
    until_ready(&api).await?;
    api.post("/api/v1/instances", &instance("a", 7001)).await?.expect(201)?;
    Ok(())
}
