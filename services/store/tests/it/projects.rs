//! Projects.

use anyhow::{Context as _, Result};
use serde_json::json;
use sker_types::new_id;

use super::support::{World, ids, lease_of, text};

#[tokio::test]
async fn what_is_made_is_answered_with_its_place_and_version() -> Result<()> {
    let world = World::new().await?;
    let body = json!({
        "name": "画布",
        "description": "what it is for",
        "canvas_data": {"viewport": {"x": 1.5, "y": -2, "zoom": 0.5}, "config": {"grid": true}},
        "settings": {"ai_assistance": true, "anything": [1, 2]},
    });
    let made = world.user.post("/api/v1/projects", &body).await?.expect(201)?;
    let place = made.header("location").context("a Location")?.to_owned();
    assert_eq!(place, format!("/api/v1/projects/{}", made.string("id")?));
    for member in ["name", "description", "canvas_data", "settings"] {
        assert_eq!(made.body[member], body[member], "{member}");
    }
    assert_eq!((&made.body["status"], &made.body["is_archived"]), (&json!("active"), &json!(false)));
    for time in ["created_at", "updated_at"] {
        assert!(text(&made.body, time)?.ends_with('Z'), "{time} is RFC 3339 in UTC: {}", made.text);
    }
    assert_eq!(text(&made.body, "id")?.as_bytes()[14], b'7', "ids are UUIDv7");

    let read = world.user.get(&place).await?.expect(200)?;
    assert_eq!(read.body, made.body);
    let tag = read.header("etag").context("an ETag")?;
    assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() > 2, "strong: {tag}");
    assert_eq!(made.header("etag"), Some(tag));
    Ok(())
}

#[tokio::test]
async fn a_merge_patch_changes_what_it_names_and_null_removes() -> Result<()> {
    let world = World::new().await?;
    let body = json!({"name": "a", "description": "d", "settings": {"one": 1, "two": {"x": 1, "y": 2}}});
    let made = world.user.post("/api/v1/projects", &body).await?.expect(201)?;
    let place = format!("/api/v1/projects/{}", made.string("id")?);
    let patch = async |body: serde_json::Value| world.user.patch(&place, &body, None).await;

    let patched = patch(json!({"settings": {"two": {"x": null}, "three": 3}})).await?.expect(200)?;
    assert_eq!(patched.body["settings"], json!({"one": 1, "two": {"y": 2}, "three": 3}));
    assert_eq!((&patched.body["name"], &patched.body["description"]), (&json!("a"), &json!("d")));
    let patched = patch(json!({"description": null, "status": "paused"})).await?.expect(200)?;
    assert!(patched.body["description"].is_null() || patched.body["description"] == "", "{}", patched.text);
    assert_eq!((&patched.body["name"], &patched.body["status"]), (&json!("a"), &json!("paused")));
    let refused = patch(json!({"name": null})).await?.expect_problem(400, "validation_failed")?;
    assert_eq!(refused.field_errors(), ["name"]);

    let request = world.user.request(reqwest::Method::PATCH, &place).body(r#"{"name":"b"}"#);
    let request = request.header("Content-Type", "application/merge-patch+json");
    assert_eq!(world.user.send(request).await?.expect(200)?.body["name"], "b");
    Ok(())
}

#[tokio::test]
async fn unknown_and_bad_fields_are_refused_by_name_all_at_once() -> Result<()> {
    let world = World::new().await?;
    let body = json!({"name": "canvas", "colour": "red", "shape": 7});
    let refused = world.user.post("/api/v1/projects", &body).await?.expect_problem(400, "unknown_field")?;
    assert_eq!(refused.field_errors(), ["colour", "shape"]);
    let body = json!({"name": 7, "status": "sleeping", "is_archived": "no", "settings": [], "owner_id": new_id()});
    let refused = world.user.post("/api/v1/projects", &body).await?.expect_problem(400, "validation_failed")?;
    let mut fields = refused.field_errors();
    fields.sort_unstable();
    assert_eq!(fields, ["is_archived", "name", "owner_id", "settings", "status"]);
    for error in refused.body["errors"].as_array().context("errors")? {
        assert!(error["code"].is_string() && error["message"].is_string(), "{error}");
    }
    let refused = world.user.patch(&world.path(""), &json!({"colour": "red"}), None).await?;
    assert_eq!(refused.expect_problem(400, "unknown_field")?.field_errors(), ["colour"]);
    let list = world.user.get("/api/v1/projects").await?.expect(200)?;
    assert_eq!(ids(&list)?, [world.project.as_str()], "nothing was made");
    Ok(())
}

#[tokio::test]
async fn a_deleted_project_is_gone_with_all_that_is_in_it() -> Result<()> {
    let world = World::new().await?;
    let (one, two) = (world.node("one").await?, world.node("two").await?);
    let edge = world.connection(&one, &two).await?;
    let task = world.queued_task(json!({})).await?;
    let claimed = world.broker("b").claim(&task).await?;
    world.user.delete(&world.path("")).await?.expect(204)?;
    for path in [
        world.path(""),
        world.path("/canvas"),
        world.path("/nodes"),
        format!("/api/v1/nodes/{one}"),
        format!("/api/v1/connections/{edge}"),
        format!("/api/v1/ai-tasks/{task}"),
    ] {
        world.user.get(&path).await?.expect_problem(404, "not_found").context(path)?;
    }
    for list in ["projects", "nodes", "connections", "ai-tasks"] {
        let page = world.user.get(&format!("/api/v1/{list}")).await?.expect(200)?;
        assert_eq!(page.body["data"], json!([]), "{list}");
    }
    let lost = world.broker("b").renew(&lease_of(&claimed)).await?;
    assert_eq!(lost.as_deref(), Some("cancelled"), "nobody works on for a project that is gone");
    world.user.delete(&world.path("")).await?.expect_problem(404, "not_found")?;
    Ok(())
}

#[tokio::test]
async fn projects_are_found_by_what_is_documented_and_nothing_else() -> Result<()> {
    let world = World::new().await?;
    let body = json!({"name": "Paused plans", "status": "paused", "is_archived": true});
    let paused = world.user.post("/api/v1/projects", &body).await?.expect(201)?.string("id")?;
    let find = async |query: &str| world.user.get(&format!("/api/v1/projects?{query}")).await;
    for query in ["status=paused", "is_archived=true", "q=plans", "q=PLANS&status=paused"] {
        assert_eq!(ids(&find(query).await?.expect(200)?)?, [paused.as_str()], "{query}");
    }
    // Wildcards of the database are letters like any others.
    for query in ["q=pl%25ns", "q=pl_ns", "status=completed"] {
        assert_eq!(ids(&find(query).await?.expect(200)?)?, [] as [&str; 0], "{query}");
    }
    assert_eq!(ids(&find("sort=-created_at").await?.expect(200)?)?, [paused.as_str(), world.project.as_str()]);
    for (query, field) in [
        ("colour=red", "colour"),
        ("status=sleeping", "status"),
        ("sort=colour", "sort"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=many", "limit"),
        ("is_archived=perhaps", "is_archived"),
    ] {
        let refused = find(query).await?.expect(400)?;
        assert_eq!(refused.field_errors(), [field], "{query}: {}", refused.text);
    }
    let refused = find("colour=red&shape=round&limit=0").await?.expect(400)?;
    let mut fields = refused.field_errors();
    fields.sort_unstable();
    assert_eq!(fields, ["colour", "limit", "shape"]);
    Ok(())
}

#[tokio::test]
async fn a_canvas_is_one_read() -> Result<()> {
    let world = World::new().await?;
    let mut nodes = Vec::new();
    for title in ["one", "two", "three"] {
        nodes.push(world.node(title).await?);
    }
    let kept = world.connection(&nodes[0], &nodes[1]).await?;
    world.connection(&nodes[1], &nodes[2]).await?;
    world.user.delete(&format!("/api/v1/nodes/{}", nodes[2])).await?.expect(204)?;

    let canvas = world.user.get(&world.path("/canvas")).await?.expect(200)?;
    assert_eq!(canvas.body["project"]["id"], world.project);
    let listed = |member: &str| -> Vec<&str> {
        canvas.body[member].as_array().into_iter().flatten().filter_map(|row| row["id"].as_str()).collect()
    };
    assert_eq!(listed("nodes"), [nodes[0].as_str(), &nodes[1]]);
    assert_eq!(listed("connections"), [kept.as_str()]);
    assert_eq!(canvas.body["nodes"][0]["content"], "the content of one");
    assert_eq!(canvas.body["nodes"][0], world.node_now(&nodes[0]).await?, "a node is the same wherever it is read");
    Ok(())
}
