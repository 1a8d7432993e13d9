//! Connections between nodes.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use sker_types::new_id;

use super::support::{World, ids};

#[tokio::test]
async fn a_connection_keeps_what_it_is_given() -> Result<()> {
    let world = World::new().await?;
    let (one, two) = (world.node("one").await?, world.node("two").await?);
    let body = json!({
        "source_node_id": one,
        "target_node_id": two,
        "source_handle": "right",
        "target_handle": "left",
        "type": "bidirectional",
        "weight": 0.25,
        "metadata": {"colour": "red"},
    });
    let made = world.user.post(&world.path("/connections"), &body).await?.expect(201)?;
    let place = format!("/api/v1/connections/{}", made.string("id")?);
    assert_eq!(made.header("location"), Some(place.as_str()));
    assert!(made.header("etag").is_some());
    for (member, value) in body.as_object().context("an object")? {
        assert_eq!(&made.body[member], value, "{member}");
    }
    assert_eq!(world.user.get(&place).await?.expect(200)?.body, made.body);

    let patch = json!({"type": "input", "source_handle": null, "metadata": {"colour": null, "width": 2}});
    let patched = world.user.patch(&place, &patch, None).await?.expect(200)?;
    assert_eq!((&patched.body["type"], &patched.body["weight"]), (&json!("input"), &json!(0.25)));
    assert_eq!((&patched.body["source_handle"], &patched.body["target_handle"]), (&Value::Null, &json!("left")));
    assert_eq!(patched.body["metadata"], json!({"width": 2}));
    world.user.delete(&place).await?.expect(204)?;
    world.user.get(&place).await?.expect_problem(404, "not_found")?;
    // The edge is gone, so the same may be drawn again.
    world.user.post(&world.path("/connections"), &body).await?.expect(201)?;
    Ok(())
}

#[tokio::test]
async fn no_edge_leads_to_itself() -> Result<()> {
    let world = World::new().await?;
    let (one, two) = (world.node("one").await?, world.node("two").await?);
    let body = json!({"source_node_id": one, "target_node_id": one, "type": "reference"});
    world.user.post(&world.path("/connections"), &body).await?.expect_problem(400, "validation_failed")?;
    let edge = world.connection(&one, &two).await?;
    let bent = world.user.patch(&format!("/api/v1/connections/{edge}"), &json!({"target_node_id": one}), None).await?;
    assert_eq!(bent.status.as_u16(), 400, "{}", bent.text);
    Ok(())
}

#[tokio::test]
async fn no_edge_is_drawn_twice() -> Result<()> {
    let world = World::new().await?;
    let (one, two, three) = (world.node("one").await?, world.node("two").await?, world.node("three").await?);
    let edges = world.path("/connections");
    let body = json!({"source_node_id": one, "target_node_id": two, "type": "reference"});
    world.user.post(&edges, &body).await?.expect(201)?;
    world.user.post(&edges, &body).await?.expect_problem(409, "conflict")?;
    // The other way round is another edge.
    let back = json!({"source_node_id": two, "target_node_id": one, "type": "reference"});
    world.user.post(&edges, &back).await?.expect(201)?;
    // And so is one that ends elsewhere on the node.
    let mut handled = body.clone();
    handled["source_handle"] = json!("right");
    world.user.post(&edges, &handled).await?.expect(201)?;
    world.user.post("/api/v1/connections", &body).await?.expect_problem(409, "conflict")?;
    // Neither is an edge moved onto another.
    let moved = world.connection(&one, &three).await?;
    let moved = format!("/api/v1/connections/{moved}");
    let refused = world.user.patch(&moved, &json!({"target_node_id": two}), None).await?;
    refused.expect_problem(409, "conflict")?;

    let at_once = (0..6).map(|_| {
        let (user, edges) = (world.user.clone(), edges.clone());
        let body = json!({"source_node_id": three, "target_node_id": one, "type": "input"});
        async move { user.post(&edges, &body).await }
    });
    let answers = futures::future::try_join_all(at_once).await?;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    assert!(answers.iter().all(|answer| [201, 409].contains(&answer.status.as_u16())));
    Ok(())
}

#[tokio::test]
async fn both_ends_of_an_edge_are_nodes_of_its_project() -> Result<()> {
    let world = World::new().await?;
    let one = world.node("one").await?;
    let other = world.user.create_project("other").await?;
    let elsewhere = world.user.create_node(&other, "elsewhere", "mine too").await?;
    let (_, [_, theirs, ..]) = world.stranger().await?;
    let dead = world.node("dead").await?;
    world.user.delete(&format!("/api/v1/nodes/{dead}")).await?.expect(204)?;
    let unknown = new_id().to_string();

    let mut details = Vec::new();
    for end in [&elsewhere, &theirs, &dead, &unknown] {
        for (source, target, bad) in [(&one, end, "target_node_id"), (end, &one, "source_node_id")] {
            let body = json!({"source_node_id": source, "target_node_id": target, "type": "input"});
            let refused = world.user.post(&world.path("/connections"), &body).await?.expect(400)?;
            assert_eq!(refused.field_errors(), [bad], "{}", refused.text);
            details.push(refused.body["errors"].to_string().replace(bad, ""));
        }
    }
    // Without a project in the path it is that of the source.
    let body = json!({"source_node_id": elsewhere, "target_node_id": one, "type": "input"});
    let refused = world.user.post("/api/v1/connections", &body).await?.expect(400)?;
    assert_eq!(refused.field_errors(), ["target_node_id"]);
    details.dedup();
    assert_eq!(details.len(), 1, "what is another's looks like what is not there: {details:?}");
    let two = world.node("two").await?;
    let edge = world.connection(&one, &two).await?;
    let edge = format!("/api/v1/connections/{edge}");
    let moved = world.user.patch(&edge, &json!({"target_node_id": elsewhere}), None).await?.expect(400)?;
    assert_eq!(moved.field_errors(), ["target_node_id"]);
    Ok(())
}

#[tokio::test]
async fn every_bad_field_of_a_connection_is_named_at_once() -> Result<()> {
    let world = World::new().await?;
    let body = json!({"source_node_id": "one", "type": "arrow", "weight": 1.5, "colour": "red"});
    let refused =
        world.user.post(&world.path("/connections"), &body).await?.expect_problem(400, "validation_failed")?;
    let mut fields = refused.field_errors();
    fields.sort_unstable();
    assert_eq!(fields, ["colour", "source_node_id", "target_node_id", "type", "weight"]);
    Ok(())
}

#[tokio::test]
async fn connections_are_found_by_their_ends_and_type() -> Result<()> {
    let world = World::new().await?;
    let (one, two, three) = (world.node("one").await?, world.node("two").await?, world.node("three").await?);
    let first = world.connection(&one, &two).await?;
    let second = world.connection(&two, &three).await?;
    for (query, expected) in [
        (format!("source_node_id={one}"), vec![&first]),
        (format!("target_node_id={three}"), vec![&second]),
        (format!("project_id={}", world.project), vec![&first, &second]),
        ("type=reference".to_owned(), vec![&first, &second]),
        ("type=input".to_owned(), vec![]),
    ] {
        let found = world.user.get(&format!("/api/v1/connections?{query}")).await?.expect(200)?;
        assert_eq!(ids(&found)?.iter().collect::<Vec<_>>(), expected, "{query}");
    }
    for query in ["source_node_id=one", "type=arrow", "weight=1"] {
        world.user.get(&format!("/api/v1/connections?{query}")).await?.expect(400).context(query)?;
    }
    Ok(())
}
