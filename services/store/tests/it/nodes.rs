//! Nodes and their versions.

use anyhow::{Context as _, Result};
use serde_json::json;
use sker_types::new_id;

use super::support::{World, ids, text};

#[tokio::test]
async fn a_node_keeps_what_it_is_given() -> Result<()> {
    let world = World::new().await?;
    let body = json!({
        "title": "潮汐",
        "content": "The tide is high.\n\n第二段。",
        "importance": 5,
        "confidence": 87.5,
        "status": "completed",
        "tags": ["moon", "sea"],
        "position": {"x": -10.25, "y": 3e3},
        "metadata": {"semantic_types": ["fact"], "deep": {"er": [null, 1]}},
    });
    let made = world.user.post(&world.path("/nodes"), &body).await?.expect(201)?;
    assert_eq!(made.header("location"), Some(format!("/api/v1/nodes/{}", made.string("id")?).as_str()));
    for (member, value) in body.as_object().context("an object")? {
        assert_eq!(&made.body[member], value, "{member}");
    }
    assert_eq!(made.body["project_id"], world.project);
    assert_eq!((&made.body["version"], &made.body["ai_generated"]), (&json!(1), &json!(false)));
    assert_eq!(world.node_now(&made.string("id")?).await?, made.body);

    let mut named = body.clone();
    named["project_id"] = json!(world.project);
    let elsewhere = world.user.post("/api/v1/nodes", &named).await?.expect(201)?;
    assert_eq!(elsewhere.body["project_id"], world.project);
    let refused = world.user.post("/api/v1/nodes", &body).await?.expect_problem(400, "validation_failed")?;
    assert_eq!(refused.field_errors(), ["project_id"]);
    named["project_id"] = json!(new_id());
    let refused = world.user.post(&world.path("/nodes"), &named).await?.expect_problem(400, "validation_failed")?;
    assert_eq!(refused.field_errors(), ["project_id"], "the body contradicts the path");
    Ok(())
}

#[tokio::test]
async fn every_bad_field_of_a_node_is_named_at_once() -> Result<()> {
    let world = World::new().await?;
    let body = json!({
        "title": 7,
        "importance": 6,
        "confidence": -1,
        "status": "deleted",
        "tags": "moon",
        "position": {"x": "left", "z": 1},
        "metadata": 1,
        "colour": "red",
    });
    let refused = world.user.post(&world.path("/nodes"), &body).await?.expect_problem(400, "validation_failed")?;
    let mut fields = refused.field_errors();
    fields.sort_unstable();
    let expected =
        ["colour", "confidence", "importance", "metadata", "position.x", "position.z", "status", "tags", "title"];
    assert_eq!(fields, expected);
    let list = world.user.get(&world.path("/nodes")).await?.expect(200)?;
    assert_eq!(list.body["data"], json!([]));
    Ok(())
}

#[tokio::test]
async fn a_patch_leaves_what_it_does_not_name() -> Result<()> {
    let world = World::new().await?;
    let body = json!({
        "title": "t", "content": "c", "importance": 4, "tags": ["a"], "position": {"x": 1, "y": 2},
        "metadata": {"one": 1, "two": 2},
    });
    let made = world.user.post(&world.path("/nodes"), &body).await?.expect(201)?;
    let path = format!("/api/v1/nodes/{}", made.string("id")?);
    let patch = json!({"position": {"x": 5}, "metadata": {"one": null}, "tags": null});
    let patched = world.user.patch(&path, &patch, None).await?.expect(200)?;
    assert_eq!(patched.body["position"], json!({"x": 5.0, "y": 2.0}));
    assert_eq!(patched.body["metadata"], json!({"two": 2}));
    assert_eq!(patched.body["tags"], json!([]));
    for member in ["title", "content", "importance", "created_at"] {
        assert_eq!(patched.body[member], made.body[member], "{member}");
    }
    let refused = world.user.patch(&path, &json!({"project_id": new_id()}), None).await?;
    assert_eq!(refused.expect(400)?.field_errors(), ["project_id"], "a node stays where it is");
    Ok(())
}

#[tokio::test]
async fn versions_grow_when_the_content_changes_and_only_then() -> Result<()> {
    let world = World::new().await?;
    let node = world.node("one").await?;
    let path = format!("/api/v1/nodes/{node}");
    assert_eq!(world.versions(&node).await?.len(), 1);
    for (change, versions) in [
        (json!({"position": {"x": 100, "y": 100}}), 1),
        (json!({"content": "second"}), 2),
        (json!({"content": "second"}), 2),
        (json!({"importance": 5, "confidence": 1, "status": "error"}), 2),
        (json!({"title": "renamed"}), 3),
    ] {
        world.user.patch(&path, &change, None).await?.expect(200)?;
        assert_eq!(world.versions(&node).await?.len(), versions, "{change}");
    }
    let versions = world.versions(&node).await?;
    let contents: Vec<&str> = versions.iter().map(|version| text(version, "content")).collect::<Result<_>>()?;
    assert_eq!(contents, ["the content of one", "second", "second"]);
    assert_eq!((&versions[1]["title"], &versions[2]["title"]), (&json!("one"), &json!("renamed")));
    for version in &versions {
        assert_eq!(version["changed_by"], json!(world.user_id), "who");
        assert!(text(version, "reason").is_ok_and(|reason| !reason.is_empty()), "why");
        assert!(text(version, "created_at").is_ok(), "when");
    }
    let numbers: Vec<i64> = versions.iter().filter_map(|version| version["version"].as_i64()).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    Ok(())
}

#[tokio::test]
async fn deleting_a_node_takes_its_edges_along() -> Result<()> {
    let world = World::new().await?;
    let mut nodes = Vec::new();
    for title in ["one", "two", "three"] {
        nodes.push(world.node(title).await?);
    }
    let doomed = [world.connection(&nodes[0], &nodes[1]).await?, world.connection(&nodes[2], &nodes[0]).await?];
    let kept = world.connection(&nodes[1], &nodes[2]).await?;
    world.user.delete(&format!("/api/v1/nodes/{}", nodes[0])).await?.expect(204)?;

    let edges = world.user.get(&world.path("/connections")).await?.expect(200)?;
    assert_eq!(ids(&edges)?, [kept.as_str()]);
    for edge in &doomed {
        world.user.get(&format!("/api/v1/connections/{edge}")).await?.expect_problem(404, "not_found")?;
        world.heard(&format!("project:{}", world.project), "connection.deleted", edge).await?;
    }
    world.heard(&format!("project:{}", world.project), "node.deleted", &nodes[0]).await?;
    let left = world.user.get(&world.path("/nodes")).await?.expect(200)?;
    assert_eq!(ids(&left)?, [nodes[1].as_str(), &nodes[2]]);
    for path in ["", "/versions"] {
        let gone = world.user.get(&format!("/api/v1/nodes/{}{path}", nodes[0])).await?;
        gone.expect_problem(404, "not_found")?;
    }
    world.user.delete(&format!("/api/v1/nodes/{}", nodes[0])).await?.expect_problem(404, "not_found")?;
    // Where a deleted edge was, another may be made once both ends live.
    world.connection(&nodes[2], &nodes[1]).await?;
    Ok(())
}

#[tokio::test]
async fn nodes_are_found_by_text_tags_and_members() -> Result<()> {
    let world = World::new().await?;
    let make = async |body: serde_json::Value| -> Result<String> {
        world.user.post(&world.path("/nodes"), &body).await?.expect(201)?.string("id")
    };
    let tide =
        make(json!({"title": "Tides", "content": "moon and sea", "tags": ["moon", "sea"], "importance": 5})).await?;
    let price =
        make(json!({"title": "Price", "content": "100% of it", "tags": ["moonshine"], "status": "error"})).await?;
    let other = make(json!({"title": "中文标题", "content": "月亮", "tags": ["moon"]})).await?;
    // SQLite knows the cases of ASCII letters only; what is spelled as it stands there is found all the same.
    let umlaut = make(json!({"title": "Kein Ärger", "tags": ["Moon", "100%", "tag \"q\""]})).await?;
    for (query, expected) in [
        ("q=tides", vec![&tide]),
        ("q=SEA", vec![&tide]),
        ("q=%E6%9C%88%E4%BA%AE", vec![&other]),
        ("q=100%25", vec![&price]),
        ("q=%25", vec![&price]),
        ("q=_", vec![]),
        ("tags=moon", vec![&tide, &other]),
        ("tags=moon,sea", vec![&tide]),
        ("tags=moon&q=tides", vec![&tide]),
        ("tags=Moon", vec![&umlaut]),
        ("tags=100%25", vec![&umlaut]),
        ("tags=tag%20%22q%22", vec![&umlaut]),
        ("tags=moo", vec![]),
        ("q=%C3%84rger", vec![&umlaut]),
        ("importance=5", vec![&tide]),
        ("status=error", vec![&price]),
        ("ai_generated=true", vec![]),
    ] {
        for list in [world.path("/nodes"), "/api/v1/nodes".to_owned()] {
            let found = world.user.get(&format!("{list}?{query}")).await?.expect(200)?;
            assert_eq!(ids(&found)?.iter().collect::<Vec<_>>(), expected, "{list}?{query}");
        }
    }
    for query in ["colour=red", "sort=colour", "status=asleep", "importance=9", "tag=moon"] {
        world.user.get(&format!("{}?{query}", world.path("/nodes"))).await?.expect(400).context(query)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_node_has_its_limits() -> Result<()> {
    let world = World::new().await?;
    let large = "a".repeat(3 << 20);
    let node = world.user.create_node(&world.project, "large", &large).await?;
    assert_eq!(text(&world.node_now(&node).await?, "content")?.len(), large.len());
    let body = json!({"title": "t", "content": "a".repeat((4 << 20) + 1)});
    let refused = world.user.post(&world.path("/nodes"), &body).await?.expect(400)?;
    assert_eq!(refused.field_errors(), ["content"]);
    let body = json!({"title": "t", "content": "a\u{0}b"});
    let refused = world.user.post(&world.path("/nodes"), &body).await?.expect(400)?;
    assert_eq!(refused.field_errors(), ["content"], "no database keeps a NUL");
    Ok(())
}
