use anyhow::Result;
use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn a_batch_makes_changes_and_deletes_together() -> Result<()> {
    let world = World::start().await?;
    let user = world.api.sign_up().await?;
    let project = user.create_project("p").await?;
    let (a, b) = (user.create_node(&project, "a", "").await?, user.create_node(&project, "b", "").await?);
    let batch = json!({
        "create": [{"title": "c"}, {"title": "d", "content": "text"}],
        "update": [{"id": a, "if_match": "\"1\"", "title": "A"}],
        "delete": [b],
    });
    let answer = user.post(&format!("/api/v1/projects/{project}/nodes:batch"), &batch).await?.expect(200)?;
    assert_eq!(answer.body["created"][1]["content"], "text");
    assert_eq!((&answer.body["updated"][0]["title"], &answer.body["updated"][0]["version"]), (&json!("A"), &json!(2)));
    assert_eq!(answer.body["deleted"], json!([b]));
    let page = user.get(&format!("/api/v1/projects/{project}/nodes")).await?.expect(200)?;
    let titles: Vec<_> = page.body["data"].as_array().unwrap().iter().map(|node| &node["title"]).collect();
    assert_eq!(titles, ["A", "c", "d"]);
    Ok(())
}

#[tokio::test]
async fn a_batch_that_fails_anywhere_changes_nothing() -> Result<()> {
    let world = World::start().await?;
    let user = world.api.sign_up().await?;
    let project = user.create_project("p").await?;
    let elsewhere = user.create_project("q").await?;
    let a = user.create_node(&project, "a", "").await?;
    let far = user.create_node(&elsewhere, "far", "").await?;
    let path = format!("/api/v1/projects/{project}/nodes");
    for (batch, status) in [
        (json!({"create": [{"title": "x"}], "update": [{"id": a, "if_match": "\"9\"", "title": "A"}]}), 412),
        (json!({"create": [{"title": "x"}], "delete": [far]}), 404),
        (json!({"create": [{"title": "x"}, {"importance": 9}], "delete": [a]}), 400),
        (json!({"update": [{"id": a, "title": "x"}], "delete": [a]}), 400),
    ] {
        user.post(&format!("{path}:batch"), &batch).await?.expect(status)?;
    }
    let page = user.get(&path).await?.expect(200)?;
    assert_eq!(page.body["data"].as_array().unwrap().len(), 1);
    assert_eq!((&page.body["data"][0]["title"], &page.body["data"][0]["version"]), (&json!("a"), &json!(1)));
    Ok(())
}

#[tokio::test]
async fn every_fault_of_a_batch_is_named_with_its_place() -> Result<()> {
    let world = World::start().await?;
    let user = world.api.sign_up().await?;
    let project = user.create_project("p").await?;
    let batch = json!({
        "create": [{"title": "fine"}, {"title": 7, "colour": "red"}],
        "update": [{"title": "no id"}],
        "delete": ["x"],
        "move": [],
    });
    let answer = user.post(&format!("/api/v1/projects/{project}/nodes:batch"), &batch).await?;
    let answer = answer.expect_problem(400, "validation_failed")?;
    let mut fields: Vec<_> =
        answer.body["errors"].as_array().unwrap().iter().map(|fault| fault["field"].as_str().unwrap()).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["create[1].colour", "create[1].title", "delete[0]", "move", "update[0].id"]);
    Ok(())
}

#[tokio::test]
async fn thousands_of_nodes_are_made_in_one_batch() -> Result<()> {
    let world = World::start().await?;
    let user = world.api.sign_up().await?;
    let project = user.create_project("p").await?;
    let nodes: Vec<_> = (0..3_000).map(|n| json!({"title": format!("{n}"), "content": "some text"})).collect();
    let path = format!("/api/v1/projects/{project}/nodes:batch");
    let answer = user.post(&path, &json!({"create": nodes})).await?.expect(200)?;
    let ids: Vec<_> = answer.body["created"].as_array().unwrap().iter().map(|node| node["id"].clone()).collect();
    assert_eq!(ids.len(), 3_000);
    user.post(&path, &json!({"delete": ids})).await?.expect(200)?;
    let page = user.get(&format!("/api/v1/projects/{project}/nodes")).await?.expect(200)?;
    assert_eq!(page.body["data"], json!([]));
    Ok(())
}
