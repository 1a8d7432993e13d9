use anyhow::Result;
use reqwest::Method;
use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn a_stale_if_match_is_refused_and_changes_nothing() -> Result<()> {
    let world = World::start().await?;
    let user = world.api.sign_up().await?;
    let project = user.create_project("p").await?;
    let node = user.create_node(&project, "t", "c").await?;
    let other = user.create_node(&project, "t", "c").await?;
    let edge = json!({"source_node_id": node, "target_node_id": other});
    let edge = user.post("/api/v1/connections", &edge).await?.expect(201)?.string("id")?;
    let changes = [
        (format!("/api/v1/projects/{project}"), json!({"name": "a"}), json!({"name": "b"}), "name"),
        (format!("/api/v1/nodes/{node}"), json!({"title": "a"}), json!({"title": "b"}), "title"),
        (format!("/api/v1/connections/{edge}"), json!({"weight": 0.5}), json!({"weight": 0.1}), "weight"),
    ];
    for (path, first, second, field) in changes {
        let read = user.get(&path).await?.expect(200)?;
        let etag = read.header("etag").unwrap().to_owned();
        let changed = user.patch(&path, &first, Some(&etag)).await?.expect(200)?;
        assert_ne!(changed.header("etag"), Some(etag.as_str()));
        user.patch(&path, &second, Some(&etag)).await?.expect_problem(412, "precondition_failed")?;
        let stale = user.request(Method::DELETE, &path).header("If-Match", &etag);
        user.send(stale).await?.expect_problem(412, "precondition_failed")?;
        let now = user.get(&path).await?.expect(200)?;
        assert_eq!(now.body[field], first[field]);
        assert_eq!(now.header("etag"), changed.header("etag"));
    }
    Ok(())
}

#[tokio::test]
async fn a_client_that_has_the_version_is_answered_304() -> Result<()> {
    let world = World::start().await?;
    let user = world.api.sign_up().await?;
    let project = user.create_project("p").await?;
    for path in [format!("/api/v1/projects/{project}"), format!("/api/v1/projects/{project}/canvas")] {
        let etag = user.get(&path).await?.expect(200)?.header("etag").unwrap().to_owned();
        let again = user.send(user.request(Method::GET, &path).header("If-None-Match", &etag)).await?.expect(304)?;
        assert_eq!(again.text, "");
        user.patch(&format!("/api/v1/projects/{project}"), &json!({"name": path}), None).await?.expect(200)?;
        user.send(user.request(Method::GET, &path).header("If-None-Match", &etag)).await?.expect(200)?;
    }
    Ok(())
}

#[tokio::test]
async fn put_is_not_allowed_and_names_what_is() -> Result<()> {
    let world = World::start().await?;
    let user = world.api.sign_up().await?;
    let project = user.create_project("p").await?;
    let answer = user.put(&format!("/api/v1/projects/{project}"), &json!({"name": "x"})).await?;
    let answer = answer.expect_problem(405, "method_not_allowed")?;
    assert!(answer.header("allow").is_some_and(|allow| allow.contains("PATCH")), "{:?}", answer.headers);
    Ok(())
}

#[tokio::test]
async fn unknown_fields_and_parameters_are_refused_by_name() -> Result<()> {
    let world = World::start().await?;
    let user = world.api.sign_up().await?;
    let project = user.create_project("p").await?;
    let node = user.create_node(&project, "t", "c").await?;
    let body = json!({"name": "x", "colour": "red"});
    let answer = user.post("/api/v1/projects", &body).await?.expect_problem(400, "unknown_field")?;
    assert_eq!(answer.body["errors"][0]["field"], "colour");
    let body = json!({"position": {"x": "left", "z": 1}, "importance": 9, "shape": "round"});
    let answer = user.patch(&format!("/api/v1/nodes/{node}"), &body, None).await?;
    let answer = answer.expect_problem(400, "validation_failed")?;
    let mut fields: Vec<_> =
        answer.body["errors"].as_array().unwrap().iter().map(|fault| fault["field"].as_str().unwrap()).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["importance", "position.x", "position.z", "shape"]);
    let answer = user.get("/api/v1/nodes?colour=red").await?.expect_problem(400, "unknown_field")?;
    assert_eq!(answer.body["errors"][0]["field"], "colour");
    user.send(user.request(Method::POST, "/api/v1/projects").header("content-type", "application/json").body("{"))
        .await?
        .expect_problem(400, "invalid_request")?;
    Ok(())
}

#[tokio::test]
async fn a_patch_merges_open_objects_and_clears_with_null() -> Result<()> {
    let world = World::start().await?;
    let user = world.api.sign_up().await?;
    let project = user.create_project("p").await?;
    let path = format!("/api/v1/projects/{project}");
    let first = json!({"settings": {"collaboration": true, "depth": {"a": 1, "b": 2}}, "description": "text"});
    user.patch(&path, &first, None).await?.expect(200)?;
    let second = json!({"settings": {"collaboration": null, "depth": {"a": null}}, "description": null});
    let changed = user.patch(&path, &second, None).await?.expect(200)?;
    assert_eq!(changed.body["settings"], json!({"depth": {"b": 2}}));
    assert_eq!(changed.body["description"], "");
    // What changes nothing is no new version.
    let same = user.patch(&path, &json!({"description": ""}), None).await?.expect(200)?;
    assert_eq!(same.body["version"], changed.body["version"]);
    user.patch(&path, &json!({"name": null}), None).await?.expect_problem(400, "validation_failed")?;
    Ok(())
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_413_and_the_batch_takes_twice_as_much() -> Result<()> {
    let world = World::start_with(&[("http.body_limit_bytes", "20000")]).await?;
    let user = world.api.sign_up().await?;
    let project = user.create_project("p").await?;
    let node = json!({"title": "t", "content": "x".repeat(15_000)});
    let path = format!("/api/v1/projects/{project}/nodes");
    user.post(&path, &node).await?.expect_problem(413, "payload_too_large")?;
    user.post(&format!("{path}:batch"), &json!({"create": [node]})).await?.expect(200)?;
    Ok(())
}
