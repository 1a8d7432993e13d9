//! Many nodes at once, all or nothing.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use sker_testkit::Answer;
use sker_types::new_id;

use super::support::{Setup, World, ids};

async fn batch(world: &World, body: &Value) -> Result<Answer> {
    world.user.post(&world.path("/nodes:batch"), body).await
}

/// Everything on the canvas, to see whether anything has changed.
async fn canvas(world: &World) -> Result<Value> {
    let mut canvas = world.user.get(&world.path("/canvas")).await?.expect(200)?.body;
    // Looking at a project is noted there.
    canvas["project"]["last_accessed_at"] = Value::Null;
    Ok(canvas)
}

#[tokio::test]
async fn a_batch_makes_changes_and_deletes_together() -> Result<()> {
    let world = World::new().await?;
    let (one, two, three) = (world.node("one").await?, world.node("two").await?, world.node("three").await?);
    let edge = world.connection(&one, &three).await?;
    let tag = world.user.get(&format!("/api/v1/nodes/{one}")).await?.header("etag").context("an ETag")?.to_owned();
    let body = json!({
        "create": [{"title": "four", "content": "made"}, {"title": "five", "tags": ["a"]}],
        "update": [{"id": one, "if_match": tag, "content": "changed"}, {"id": two, "importance": 5}],
        "delete": [three],
    });
    let done = batch(&world, &body).await?.success()?;
    let titles = |member: &str| -> Vec<&str> {
        done.body[member].as_array().into_iter().flatten().filter_map(|node| node["title"].as_str()).collect()
    };
    assert_eq!(titles("created"), ["four", "five"]);
    assert_eq!(titles("updated"), ["one", "two"]);
    assert_eq!(done.body["deleted"], json!([three]));

    let list = world.user.get(&world.path("/nodes")).await?.expect(200)?;
    let made = |index: usize| done.body["created"][index]["id"].as_str().unwrap_or_default().to_owned();
    let mut expected = vec![one.clone(), two.clone(), made(0), made(1)];
    let mut found = ids(&list)?;
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    assert_eq!(world.node_now(&one).await?["content"], "changed");
    assert_eq!((world.versions(&one).await?.len(), world.versions(&two).await?.len()), (2, 1));
    assert_eq!(world.versions(&made(0)).await?.len(), 1);
    world.user.get(&format!("/api/v1/connections/{edge}")).await?.expect_problem(404, "not_found")?;
    let channel = format!("project:{}", world.project);
    world.heard(&channel, "node.created", &made(1)).await?;
    world.heard(&channel, "node.updated", &two).await?;
    world.heard(&channel, "connection.deleted", &edge).await?;
    Ok(())
}

#[tokio::test]
async fn a_batch_with_one_fault_does_nothing() -> Result<()> {
    let world = World::new().await?;
    let (one, two) = (world.node("one").await?, world.node("two").await?);
    world.connection(&one, &two).await?;
    let (_, [_, theirs, ..]) = world.stranger().await?;
    let before = canvas(&world).await?;
    let create = json!([{"title": "new"}]);
    let cases = [
        (json!({"create": create, "update": [{"id": one, "if_match": "\"7\"", "title": "x"}], "delete": [two]}), 412),
        (json!({"create": create, "update": [{"id": one, "title": "x"}], "delete": [new_id()]}), 404),
        (json!({"create": create, "update": [{"id": theirs, "title": "x"}], "delete": [two]}), 404),
        (json!({"create": create, "delete": [one, theirs]}), 404),
        (json!({"create": [{"title": "new"}, {"importance": 9}], "delete": [one]}), 400),
        (json!({"create": create, "update": [{"id": one, "title": "x"}], "delete": [one]}), 400),
        (json!({"create": create, "update": [{"id": one}, {"id": one}]}), 400),
        (json!({"create": create, "delete": [one], "colour": "red"}), 400),
    ];
    for (body, status) in cases {
        batch(&world, &body).await?.expect(status).with_context(|| body.to_string())?;
        assert_eq!(canvas(&world).await?, before, "{body}");
    }
    Ok(())
}

#[tokio::test]
async fn every_fault_of_a_batch_is_named_with_its_place() -> Result<()> {
    let world = World::new().await?;
    let one = world.node("one").await?;
    let body = json!({
        "create": [{"title": "fine"}, {"importance": 9, "colour": "red"}, 7],
        "update": [{"title": "without an id"}, {"id": one, "position": {"x": "left"}}],
        "delete": ["no id"],
        "shape": "round",
    });
    let refused = batch(&world, &body).await?.expect_problem(400, "validation_failed")?;
    let mut fields = refused.field_errors();
    fields.sort_unstable();
    let expected = [
        "create[1].colour",
        "create[1].importance",
        "create[2]",
        "delete[0]",
        "shape",
        "update[0].id",
        "update[1].position.x",
    ];
    assert_eq!(fields, expected);
    Ok(())
}

#[tokio::test]
async fn an_empty_batch_is_no_fault() -> Result<()> {
    let world = World::new().await?;
    let done = batch(&world, &json!({})).await?.success()?;
    assert_eq!(done.body, json!({"created": [], "updated": [], "deleted": []}));
    Ok(())
}

#[tokio::test]
async fn thousands_of_nodes_are_made_in_one_batch() -> Result<()> {
    let world = World::new().await?;
    let nodes: Vec<_> = (0..3_000).map(|n| json!({"title": format!("{n}"), "content": "some text"})).collect();
    let made = batch(&world, &json!({"create": nodes})).await?.success()?;
    let made: Vec<&Value> = made.body["created"].as_array().into_iter().flatten().map(|node| &node["id"]).collect();
    assert_eq!(made.len(), 3_000);
    batch(&world, &json!({"delete": made})).await?.success()?;
    assert_eq!(canvas(&world).await?["nodes"], json!([]));
    Ok(())
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_and_a_batch_may_have_twice_as_much() -> Result<()> {
    let world = World::of(Setup::new().await?.with("http.body_limit_bytes", "20000")).await?;
    let node = json!({"title": "t", "content": "x".repeat(15_000)});
    let refused = world.user.post(&world.path("/nodes"), &node).await?;
    refused.expect_problem(413, "payload_too_large")?;
    batch(&world, &json!({"create": [node]})).await?.success()?;
    Ok(())
}
