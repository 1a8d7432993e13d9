use anyhow::Result;
use serde_json::json;
use sker_types::Role;

use crate::support::{Server, instance, instance_with, start, start_with};

async fn kinds(server: &Server, query: &str) -> Result<Vec<String>> {
    let answer = server.api.get(&format!("/api/v1/events{query}")).await?.expect(200)?;
    let events = answer.body["events"].as_array().cloned().unwrap_or_default();
    Ok(events.iter().filter_map(|event| event["eventType"].as_str().map(str::to_owned)).collect())
}

#[tokio::test]
async fn who_did_what_when_and_why_is_on_record() -> Result<()> {
    let (server, _directory) = start().await?;
    let user = server.as_role(Role::User)?;
    let id = server.register(&instance("a", 7001)).await?["instanceId"].as_str().unwrap_or_default().to_owned();
    user.put(&format!("/api/v1/instances/{id}/status"), &json!({"instanceStatus": "DOWN"})).await?.expect(200)?;
    user.delete(&format!("/api/v1/instances/{id}")).await?.expect(204)?;
    server.register(&instance_with("b", 7001, json!({"groupName": "g"}))).await?;
    server.api.post("/api/v1/groups", &json!({"groupName": "g"})).await?.expect(201)?;

    let newest_first = ["INSTANCE_DEREGISTERED", "INSTANCE_STATUS_CHANGED", "INSTANCE_REGISTERED"];
    assert_eq!(kinds(&server, "?serviceName=a").await?, newest_first);
    assert_eq!(
        kinds(&server, &format!("?instanceId={id}&eventType=INSTANCE_REGISTERED")).await?,
        ["INSTANCE_REGISTERED"]
    );
    assert_eq!(kinds(&server, "?groupName=g").await?, ["GROUP_CREATED", "INSTANCE_REGISTERED"]);
    assert!(kinds(&server, "?until=2020-01-01T00:00:00Z").await?.is_empty());
    let events = server.api.get("/api/v1/events?serviceName=a").await?.expect(200)?.body;
    let (last, first) = (&events["events"][0], &events["events"][2]);
    assert_eq!((&first["actor"], &first["reason"]), (&json!("anonymous"), &json!("registration")));
    assert_ne!(last["actor"], "anonymous");
    assert!(last["requestId"].as_str().is_some_and(|id| !id.is_empty()));
    assert_eq!((&last["hostAddress"], &last["portNumber"]), (&json!("127.0.0.1"), &json!(7001)));
    assert_eq!(last["data"]["instanceStatus"], "DOWN");
    server
        .api
        .get("/api/v1/events?eventType=BIRTH&since=soon&limit=0")
        .await?
        .expect_problem(400, "validation_failed")?;
    server.stop().await
}

#[tokio::test]
async fn the_log_is_read_page_by_page_and_survives_a_restart() -> Result<()> {
    let (server, place) = start().await?;
    for port in 7001..7006 {
        server.register(&instance("a", port)).await?;
    }
    server.stop().await?;
    let server = Server::open(&place.url(), &[]).await?;
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/v1/events?serviceName=a&limit=2&cursor={cursor}");
        let page = server.api.get(&path).await?.expect(200)?.body;
        seen.extend(page["events"].as_array().expect("events").iter().filter_map(|event| event["portNumber"].as_u64()));
        match page["nextCursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, [7005, 7004, 7003, 7002, 7001]);
    server.stop().await
}

#[tokio::test]
async fn the_platforms_events_are_not_for_anonymous_readers() -> Result<()> {
    let (server, _directory) = start().await?;
    let service = server.as_role(Role::Service)?;
    let body = instance_with("broker", 7001, json!({"groupName": "sker-platform"}));
    service.post("/api/v1/instances", &body).await?.expect(201)?;
    assert!(kinds(&server, "?serviceName=broker").await?.is_empty());
    let seen = service.get("/api/v1/events?serviceName=broker").await?.expect(200)?.body;
    assert_eq!(seen["events"].as_array().map(Vec::len), Some(1));
    server.stop().await
}

#[tokio::test]
async fn events_that_are_not_to_be_stored_are_not() -> Result<()> {
    let (server, _directory) = start_with(&[("event.persistence", "false")]).await?;
    server.register(&instance("a", 7001)).await?;
    assert!(kinds(&server, "").await?.is_empty());
    server.stop().await
}
