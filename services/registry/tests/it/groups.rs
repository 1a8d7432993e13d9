use anyhow::Result;
use serde_json::json;

use crate::support::{instance_with, start};

#[tokio::test]
async fn a_group_is_made_read_changed_and_deleted() -> Result<()> {
    let (server, _directory) = start().await?;
    let api = &server.api;
    api.get("/api/v1/groups/business").await?.expect_problem(404, "not_found")?;
    let body = json!({"groupName": "business", "adminUserIds": ["u1"], "readUserIds": ["u2", "u3"], "activeFlag": "Y", "colour": 1});
    let made = api.post("/api/v1/groups", &body).await?.expect(201)?;
    assert_eq!(made.header("location"), Some("/api/v1/groups/business"));
    assert_eq!(made.header("x-ignored-fields"), Some("colour"));
    assert_eq!(made.body["ownerUserId"], "anonymous");
    let changed =
        api.put("/api/v1/groups/business", &json!({"groupDescription": "x", "activeFlag": "N"})).await?.expect(200)?;
    assert_eq!((&changed.body["groupDescription"], &changed.body["activeFlag"]), (&json!("x"), &json!("N")));
    assert_eq!(changed.body["readUserIds"], json!(["u2", "u3"]), "what is not named stays");
    assert_eq!(api.get("/api/v1/groups/business").await?.expect(200)?.body, changed.body);
    let inactive = instance_with("a", 7001, json!({"groupName": "business"}));
    api.post("/api/v1/instances", &inactive).await?.expect_problem(409, "conflict")?;
    let wrong = api.put("/api/v1/groups/business", &json!({"groupName": "other", "activeFlag": "yes"})).await?;
    assert_eq!(wrong.expect_problem(400, "validation_failed")?.field_errors(), ["groupName", "activeFlag"]);
    api.delete("/api/v1/groups/business").await?.expect(204)?;
    api.delete("/api/v1/groups/business").await?.expect_problem(404, "not_found")?;
    server.stop().await
}

#[tokio::test]
async fn a_registration_makes_its_group_and_service_implicit_until_they_are_made_by_hand() -> Result<()> {
    let (server, _directory) = start().await?;
    let api = &server.api;
    let id = server.register(&instance_with("a", 7001, json!({"groupName": "g"}))).await?["instanceId"].clone();
    assert_eq!(api.get("/api/v1/groups/g").await?.expect(200)?.body["implicit"], true);
    assert_eq!(api.get("/api/v1/services/a?groupName=g").await?.expect(200)?.body["implicit"], true);
    let listed = api.get("/api/v1/groups/g/services").await?.expect(200)?.body;
    assert_eq!((&listed["total"], &listed["services"][0]["serviceName"]), (&json!(1), &json!("a")));

    api.post("/api/v1/groups", &json!({"groupName": "g", "defaultProtocolType": "GRPC"})).await?.expect(201)?;
    let made = api.post("/api/v1/services", &json!({"serviceName": "a", "groupName": "g"})).await?.expect(201)?;
    assert_eq!(made.header("location"), Some("/api/v1/services/a?groupName=g"));
    assert_eq!((&made.body["implicit"], &made.body["instanceCount"]), (&json!(false), &json!(1)));
    assert_eq!(made.body["protocolType"], "GRPC", "the group's defaults flow to its services");
    api.post("/api/v1/services", &json!({"serviceName": "a", "groupName": "g"}))
        .await?
        .expect_problem(409, "conflict")?;

    api.delete("/api/v1/services/a?groupName=g").await?.expect_problem(409, "conflict")?;
    api.delete("/api/v1/groups/g").await?.expect_problem(409, "conflict")?;
    api.delete(&format!("/api/v1/instances/{}", id.as_str().unwrap_or_default())).await?.expect(204)?;
    api.delete("/api/v1/services/a?groupName=g").await?.expect(204)?;
    api.delete("/api/v1/groups/g").await?.expect(204)?;
    api.get("/api/v1/groups/g").await?.expect_problem(404, "not_found")?;
    server.stop().await
}

#[tokio::test]
async fn a_service_is_changed_by_what_the_body_names() -> Result<()> {
    let (server, _directory) = start().await?;
    let api = &server.api;
    let body =
        json!({"serviceName": "订单 a/b", "protectionThreshold": 0.5, "metadataJson": "{\"a\":1}", "tags": ["x"]});
    let made = api.post("/api/v1/services", &body).await?.expect(201)?;
    let path = made.header("location").expect("a location").to_owned();
    let changed = api.put(&path, &json!({"serviceDescription": "orders", "activeFlag": "N"})).await?.expect(200)?;
    assert_eq!(
        (&changed.body["serviceDescription"], &changed.body["protectionThreshold"]),
        (&json!("orders"), &json!(0.5))
    );
    assert_eq!((&changed.body["metadata"], &changed.body["tags"]), (&json!({"a": 1}), &json!(["x"])));
    let found = api.get(&path).await?.expect(200)?;
    assert_eq!(found.body, changed.body);
    assert_eq!(found.header("etag"), Some(format!("\"{}\"", found.string("revision")?).as_str()));
    api.post("/api/v1/instances", &instance_with("订单 a/b", 7001, json!({})))
        .await?
        .expect_problem(409, "conflict")?;
    let wrong = api.put(&path, &json!({"protectionThreshold": 1.5, "tags": "x"})).await?;
    assert_eq!(wrong.expect_problem(400, "validation_failed")?.field_errors(), ["protectionThreshold", "tags"]);
    api.delete(&path).await?.expect(204)?;
    api.put(&path, &json!({})).await?.expect_problem(404, "not_found")?;
    server.stop().await
}
