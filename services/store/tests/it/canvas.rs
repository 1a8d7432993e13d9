use anyhow::Result;
use reqwest::Method;
use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn nothing_of_another_user_is_visible() -> Result<()> {
    let world = World::start().await?;
    let (ann, bob) = (world.api.sign_up().await?, world.api.sign_up().await?);
    let project = ann.create_project("p").await?;
    let node = ann.create_node(&project, "t", "c").await?;
    let other = ann.create_node(&project, "t", "c").await?;
    let edge = json!({"source_node_id": node, "target_node_id": other});
    let edge_id = ann.post("/api/v1/connections", &edge).await?.expect(201)?.string("id")?;
    let task = ann.analyse(&project, &node).await?;
    for path in [
        format!("projects/{project}"),
        format!("nodes/{node}"),
        format!("connections/{edge_id}"),
        format!("ai-tasks/{task}"),
    ] {
        let path = format!("/api/v1/{path}");
        for method in [Method::GET, Method::DELETE] {
            bob.send(bob.request(method, &path)).await?.expect_problem(404, "not_found")?;
        }
        bob.patch(&path, &json!({}), None).await?.expect_problem(404, "not_found")?;
    }
    for path in ["nodes", "connections", "ai-tasks", "canvas"] {
        bob.get(&format!("/api/v1/projects/{project}/{path}")).await?.expect_problem(404, "not_found")?;
    }
    for path in ["projects", "nodes", "connections", "ai-tasks"] {
        assert_eq!(bob.get(&format!("/api/v1/{path}")).await?.expect(200)?.body["data"], json!([]), "{path}");
        assert_ne!(ann.get(&format!("/api/v1/{path}")).await?.expect(200)?.body["data"], json!([]), "{path}");
    }
    bob.get(&format!("/api/v1/nodes/{node}/versions")).await?.expect(404)?;
    bob.post("/api/v1/connections", &edge).await?.expect(404)?;
    bob.post("/api/v1/nodes", &json!({"project_id": project, "title": "x"})).await?.expect(404)?;
    bob.post(&format!("/api/v1/ai-tasks/{task}/cancel"), &json!({})).await?.expect(404)?;
    bob.post(&format!("/api/v1/projects/{project}/nodes:batch"), &json!({"delete": [node]})).await?.expect(404)?;
    ann.get(&format!("/api/v1/nodes/{node}")).await?.expect(200)?;
    Ok(())
}

#[tokio::test]
async fn flat_and_nested_paths_lead_to_the_same() -> Result<()> {
    let world = World::start().await?;
    let user = world.api.sign_up().await?;
    let project = user.create_project("p").await?;
    let made = user.post("/api/v1/nodes", &json!({"project_id": project, "title": "t"})).await?.expect(201)?;
    let id = made.string("id")?;
    assert_eq!(made.header("location"), Some(format!("/api/v1/nodes/{id}").as_str()));
    assert_eq!(made.header("etag"), Some("\"1\""));
    let page = user.get(&format!("/api/v1/projects/{project}/nodes")).await?.expect(200)?;
    assert_eq!(page.body["data"][0], made.body);
    let flat = user.get(&format!("/api/v1/nodes?project_id={project}")).await?.expect(200)?;
    assert_eq!(flat.body["data"], page.body["data"]);
    let missing = user.post("/api/v1/nodes", &json!({"title": "t"})).await?.expect_problem(400, "validation_failed")?;
    assert_eq!(missing.body["errors"][0]["field"], "project_id");
    Ok(())
}

#[tokio::test]
async fn an_edge_joins_two_nodes_of_one_project_once() -> Result<()> {
    let world = World::start().await?;
    let user = world.api.sign_up().await?;
    let (project, elsewhere) = (user.create_project("p").await?, user.create_project("q").await?);
    let (a, b) = (user.create_node(&project, "a", "").await?, user.create_node(&project, "b", "").await?);
    let far = user.create_node(&elsewhere, "far", "").await?;
    let path = format!("/api/v1/projects/{project}/connections");
    let edge = |source: &str, target: &str| json!({"source_node_id": source, "target_node_id": target});

    let made = user.post(&path, &edge(&a, &b)).await?.expect(201)?;
    assert_eq!(made.body["source_handle"], json!(null));
    user.post(&path, &edge(&a, &b)).await?.expect_problem(409, "conflict")?;
    user.post("/api/v1/connections", &edge(&a, &b)).await?.expect_problem(409, "conflict")?;
    user.post(&path, &edge(&b, &a)).await?.expect(201)?;
    let mut handled = edge(&a, &b);
    handled["source_handle"] = json!("right");
    user.post(&path, &handled).await?.expect(201)?;

    let myself = user.post(&path, &edge(&a, &a)).await?.expect_problem(400, "validation_failed")?;
    assert_eq!(myself.body["errors"][0]["field"], "target_node_id");
    let crossing = user.post(&path, &edge(&a, &far)).await?.expect_problem(400, "validation_failed")?;
    assert_eq!(crossing.body["errors"][0]["field"], "target_node_id");
    let crossing = user.post("/api/v1/connections", &edge(&far, &a)).await?.expect_problem(400, "validation_failed")?;
    assert_eq!(crossing.body["errors"][0]["field"], "target_node_id");

    // One that is deleted can be made again.
    let id = made.string("id")?;
    user.delete(&format!("/api/v1/connections/{id}")).await?.expect(204)?;
    user.get(&format!("/api/v1/connections/{id}")).await?.expect(404)?;
    user.post(&path, &edge(&a, &b)).await?.expect(201)?;
    Ok(())
}

#[tokio::test]
async fn deleting_a_node_takes_its_edges_along() -> Result<()> {
    let world = World::start().await?;
    let user = world.api.sign_up().await?;
    let project = user.create_project("p").await?;
    let mut nodes = Vec::new();
    for title in ["a", "b", "c"] {
        nodes.push(user.create_node(&project, title, "").await?);
    }
    for (source, target) in [(0, 1), (1, 2), (0, 2)] {
        let body = json!({"source_node_id": nodes[source], "target_node_id": nodes[target]});
        user.post("/api/v1/connections", &body).await?.expect(201)?;
    }
    user.delete(&format!("/api/v1/nodes/{}", nodes[1])).await?.expect(204)?;
    user.delete(&format!("/api/v1/nodes/{}", nodes[1])).await?.expect(404)?;
    let canvas = user.get(&format!("/api/v1/projects/{project}/canvas")).await?.expect(200)?;
    assert_eq!(canvas.body["project"]["id"], json!(project));
    assert_eq!(canvas.body["nodes"].as_array().unwrap().len(), 2);
    let edges = canvas.body["connections"].as_array().unwrap();
    assert_eq!(edges.len(), 1);
    assert_eq!((&edges[0]["source_node_id"], &edges[0]["target_node_id"]), (&json!(nodes[0]), &json!(nodes[2])));
    Ok(())
}

#[tokio::test]
async fn every_change_of_content_makes_a_version_and_moving_makes_none() -> Result<()> {
    let world = World::start().await?;
    let user = world.api.sign_up().await?;
    let project = user.create_project("p").await?;
    let node = user.create_node(&project, "t", "one").await?;
    let path = format!("/api/v1/nodes/{node}");
    user.patch(&path, &json!({"content": "two"}), None).await?.expect(200)?;
    user.patch(&path, &json!({"position": {"x": 5}}), None).await?.expect(200)?;
    user.patch(&path, &json!({"title": "T"}), None).await?.expect(200)?;
    let page = user.get(&format!("{path}/versions")).await?.expect(200)?;
    let versions: Vec<_> =
        page.body["data"].as_array().unwrap().iter().map(|v| (&v["version"], &v["content"])).collect();
    assert_eq!(versions, [(&json!(4), &json!("two")), (&json!(2), &json!("two")), (&json!(1), &json!("one"))]);
    assert_eq!(page.body["data"][2]["reason"], "created");
    assert_eq!(user.get(&path).await?.expect(200)?.body["position"], json!({"x": 5.0, "y": 0.0}));
    Ok(())
}

#[tokio::test]
async fn a_deleted_project_is_gone_with_all_that_belongs_to_it() -> Result<()> {
    let world = World::start().await?;
    let user = world.api.sign_up().await?;
    let project = user.create_project("p").await?;
    let node = user.create_node(&project, "t", "c").await?;
    let task = user.analyse(&project, &node).await?;
    user.delete(&format!("/api/v1/projects/{project}")).await?.expect(204)?;
    for path in [format!("projects/{project}"), format!("nodes/{node}"), format!("ai-tasks/{task}")] {
        user.get(&format!("/api/v1/{path}")).await?.expect_problem(404, "not_found")?;
    }
    let claimed = world.claim("s", &task, 60_000).await?;
    assert_eq!(claimed.unclaimed[0].reason, "gone");
    Ok(())
}

#[tokio::test]
async fn what_is_no_id_is_not_found_and_not_a_fault() -> Result<()> {
    let world = World::start().await?;
    let user = world.api.sign_up().await?;
    for path in ["projects/7", "nodes/x", "connections/..%2f", "ai-tasks/0198C0DE-0000-7000-8000-000000000000"] {
        user.get(&format!("/api/v1/{path}")).await?.expect_problem(404, "not_found")?;
    }
    Ok(())
}
