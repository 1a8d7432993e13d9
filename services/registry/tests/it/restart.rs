use anyhow::Result;
use reqwest::Method;
use serde_json::json;
use sker_types::Role;

use crate::{
    backend::Place,
    support::{Server, in_tenant, instance, instance_with, ports, start},
};

#[tokio::test]
async fn what_was_registered_is_there_after_a_restart() -> Result<()> {
    let (server, place) = start().await?;
    let more = json!({"groupName": "g", "metadata": {"version": "1", "deep": {"a": [1, null]}}, "tags": ["x"], "weightValue": 7});
    let first = server.register(&instance_with("a", 7001, more.clone())).await?;
    let id = first["instanceId"].as_str().unwrap_or_default().to_owned();
    server.register(&instance_with("a", 7002, json!({"groupName": "g"}))).await?;
    server.api.put(&format!("/api/v1/instances/{id}/status"), &json!({"instanceStatus": "DOWN"})).await?.expect(200)?;
    server.api.post("/api/v1/groups", &json!({"groupName": "g", "readUserIds": ["u1"]})).await?.expect(201)?;
    server
        .api
        .post("/api/v1/services", &json!({"serviceName": "b", "protectionThreshold": 0.25}))
        .await?
        .expect(201)?;
    let gone = server.register(&instance("gone", 7003)).await?["instanceId"].as_str().unwrap_or_default().to_owned();
    server.api.delete(&format!("/api/v1/instances/{gone}")).await?.expect(204)?;
    let before = server.discover("a", "?groupName=g").await?.expect(200)?;
    server.stop().await?;

    let server = Server::open(&place.url(), &[]).await?;
    let after = server.discover("a", "?groupName=g").await?.expect(200)?;
    assert_eq!(after.body["instances"].as_array().map(Vec::len), Some(2));
    assert_eq!(after.body["instances"], before.body["instances"], "the same to the last field");
    let number = |text: String| text.parse::<u64>();
    assert!(number(after.string("revision")?)? > number(before.string("revision")?)?, "revisions only grow");
    assert_eq!(ports(&server.discover("gone", "").await?), Vec::<u64>::new());
    let again = server.api.post("/api/v1/instances", &instance_with("a", 7001, more)).await?.expect(200)?;
    assert_eq!((&again.body["instanceId"], &again.body["instanceStatus"]), (&json!(id), &json!("DOWN")));
    assert_eq!(server.api.get("/api/v1/groups/g").await?.expect(200)?.body["readUserIds"], json!(["u1"]));
    assert_eq!(server.api.get("/api/v1/services/b").await?.expect(200)?.body["protectionThreshold"], 0.25);
    server.stop().await
}

#[tokio::test]
async fn tenants_stay_apart_over_a_restart() -> Result<()> {
    let (server, place) = start().await?;
    let service = server.as_role(Role::Service)?;
    in_tenant(&service, Method::POST, "/api/v1/instances", "acme", Some(&instance("a", 7001))).await?.expect(201)?;
    in_tenant(&service, Method::POST, "/api/v1/instances", "default", Some(&instance("a", 7001))).await?.expect(201)?;
    in_tenant(&service, Method::POST, "/api/v1/instances", "default", Some(&instance("a", 7002))).await?.expect(201)?;
    server.stop().await?;
    let server = Server::open(&place.url(), &[]).await?;
    let service = server.as_role(Role::Service)?;
    let path = "/api/v1/services/a/instances";
    assert_eq!(ports(&in_tenant(&service, Method::GET, path, "acme", None).await?), [7001]);
    assert_eq!(ports(&in_tenant(&service, Method::GET, path, "default", None).await?), [7001, 7002]);
    server.stop().await
}

#[tokio::test]
async fn with_memory_durability_a_clean_stop_still_writes_everything() -> Result<()> {
    let place = Place::new().await?;
    let server = Server::open(&place.url(), &[("registry.durability", "memory")]).await?;
    for port in 7001..7101 {
        server.register(&instance("a", port)).await?;
    }
    server.stop().await?;
    let server = Server::open(&place.url(), &[]).await?;
    assert_eq!(ports(&server.discover("a", "").await?).len(), 100);
    server.stop().await
}
