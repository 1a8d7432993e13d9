//! Reading and changing resources through the gateway.

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn a_stale_if_match_is_refused() -> Result<()> {
    let world = World::new().await?;
    let project = world.user.create_project("canvas").await?;
    let node = format!("/api/v1/nodes/{}", world.user.create_node(&project, "title", "first").await?);
    let first = world.user.get(&node).await?.expect(200)?;
    let etag = first.header("etag").context("an ETag")?.to_owned();

    let changed = world.user.patch(&node, &json!({"content": "second"}), Some(&etag)).await?.expect(200)?;
    assert_ne!(changed.header("etag"), Some(etag.as_str()), "every change makes a new ETag");
    let refused = world.user.patch(&node, &json!({"content": "third"}), Some(&etag)).await?;
    refused.expect_problem(412, "precondition_failed")?;
    let request = world.user.request(Method::DELETE, &node).header("If-Match", &etag);
    world.user.send(request).await?.expect_problem(412, "precondition_failed")?;

    let now = world.user.get(&node).await?.expect(200)?;
    assert_eq!(now.body["content"], "second");
    assert_eq!(now.header("etag"), changed.header("etag"));
    let request =
        world.user.request(Method::GET, &node).header("If-None-Match", now.header("etag").context("an ETag")?);
    world.user.send(request).await?.expect(304)?;
    Ok(())
}

#[tokio::test]
async fn unknown_fields_are_refused_by_name_all_at_once() -> Result<()> {
    let world = World::new().await?;
    let body = json!({"name": "canvas", "colour": "red", "shape": 7});
    let refused = world.user.post("/api/v1/projects", &body).await?.expect_problem(400, "unknown_field")?;
    assert_eq!(refused.field_errors(), ["colour", "shape"]);
    let list = world.user.get("/api/v1/projects").await?.expect(200)?;
    assert_eq!(list.body["data"], json!([]), "nothing was made");
    Ok(())
}

#[tokio::test]
async fn every_bad_field_is_named_at_once() -> Result<()> {
    let world = World::new().await?;
    let project = world.user.create_project("canvas").await?;
    let body = json!({"title": 7, "importance": 9, "confidence": -1, "status": "dreaming"});
    let refused = world.user.post(&format!("/api/v1/projects/{project}/nodes"), &body).await?;
    let refused = refused.expect_problem(400, "validation_failed")?;
    let mut fields = refused.field_errors();
    fields.sort_unstable();
    assert_eq!(fields, ["confidence", "importance", "status", "title"]);
    Ok(())
}

#[tokio::test]
async fn what_is_made_is_answered_with_its_place() -> Result<()> {
    let world = World::new().await?;
    let made = world.user.post("/api/v1/projects", &json!({"name": "画布", "description": "d"})).await?.expect(201)?;
    let place = made.header("location").context("a Location")?.to_owned();
    assert_eq!(place, format!("/api/v1/projects/{}", made.string("id")?));
    let read = world.user.get(&place).await?.expect(200)?;
    assert_eq!((&read.body["name"], &read.body["description"]), (&json!("画布"), &json!("d")));
    assert_eq!(read.header("etag"), made.header("etag"));
    world.user.delete(&place).await?.expect(204)?;
    world.user.get(&place).await?.expect_problem(404, "not_found")?;
    Ok(())
}

#[tokio::test]
async fn a_merge_patch_changes_what_it_names_and_null_removes() -> Result<()> {
    let world = World::new().await?;
    let made = world.user.post("/api/v1/projects", &json!({"name": "a", "description": "d"})).await?.expect(201)?;
    let place = format!("/api/v1/projects/{}", made.string("id")?);
    let patched = world.user.patch(&place, &json!({"description": null}), None).await?.expect(200)?;
    assert_eq!(patched.body["name"], "a");
    assert!(patched.body["description"].is_null() || patched.body["description"] == "", "{}", patched.text);
    world.user.put(&place, &json!({"name": "b"})).await?.expect_problem(405, "method_not_allowed")?;
    Ok(())
}

#[tokio::test]
async fn deleting_a_node_takes_its_edges_along() -> Result<()> {
    let world = World::new().await?;
    let project = world.user.create_project("canvas").await?;
    let (from, to) =
        (world.user.create_node(&project, "from", "a").await?, world.user.create_node(&project, "to", "b").await?);
    let edge = json!({"source_node_id": from, "target_node_id": to, "type": "reference", "weight": 0.5});
    let edges = format!("/api/v1/projects/{project}/connections");
    world.user.post(&edges, &edge).await?.expect(201)?;
    world.user.post(&edges, &edge).await?.expect_problem(409, "conflict")?;
    let own = json!({"source_node_id": from, "target_node_id": from, "type": "reference"});
    let refused = world.user.post(&edges, &own).await?;
    assert!(refused.status.is_client_error(), "no edge to itself: {}", refused.text);

    world.user.delete(&format!("/api/v1/nodes/{from}")).await?.expect(204)?;
    let left = world.user.get(&edges).await?.expect(200)?;
    assert_eq!(left.body["data"], json!([]));
    Ok(())
}

#[tokio::test]
async fn request_ids_are_kept_and_bad_ones_replaced() -> Result<()> {
    let world = World::new().await?;
    let with_id = |id: &'static str| world.user.request(Method::GET, "/api/v1/projects").header("X-Request-Id", id);
    let answer = world.user.send(with_id("my-request-1")).await?.expect(200)?;
    assert_eq!(answer.header("x-request-id"), Some("my-request-1"));
    let answer = world.user.send(with_id("bad id \"<script>\"")).await?.expect(200)?;
    let id = answer.header("x-request-id").context("a request id")?;
    assert!(!id.contains('<') && !id.is_empty(), "{id}");
    Ok(())
}
