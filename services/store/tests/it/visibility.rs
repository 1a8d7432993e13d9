//! Nothing of another user's is visible.

use anyhow::{Context as _, Result};
use reqwest::Method;
use serde_json::{Value, json};
use sker_testkit::{Answer, Api};
use sker_types::new_id;

use super::support::{World, ids};

/// A request about something of the world's user.
struct Request {
    method: Method,
    path: String,
    body: Option<Value>,
}

async fn send(api: &Api, request: &Request) -> Result<Answer> {
    let built = api.request(request.method.clone(), &request.path);
    api.send(match &request.body {
        Some(body) => built.json(body),
        None => built,
    })
    .await
}

/// The ids of everything a user can have.
struct Things {
    project: String,
    node: String,
    other_node: String,
    connection: String,
    task: String,
}

impl Things {
    async fn of(world: &World) -> Result<Self> {
        let (node, other_node) = (world.node("secret one").await?, world.node("secret two").await?);
        let connection = world.connection(&node, &other_node).await?;
        let third = world.node("secret three").await?;
        world.connection(&third, &node).await?;
        let task = world.task(json!({"scheduled_at": "2999-01-01T00:00:00Z"})).await?;
        Ok(Things { project: world.project.clone(), node, other_node, connection, task })
    }

    /// Ids that nothing has.
    fn unknown() -> Self {
        let id = || new_id().to_string();
        Things { project: id(), node: id(), other_node: id(), connection: id(), task: id() }
    }

    /// Every route that names one of them.
    fn requests(&self) -> Vec<Request> {
        let Things { project, node, other_node, connection, task } = self;
        let analysis = json!({"type": "semantic_analysis", "input_data": {"inputs": ["x"]}});
        let with = |mut body: Value, name: &str, value: &str| {
            body[name] = json!(value);
            body
        };
        let edge = json!({"source_node_id": other_node, "target_node_id": node, "type": "input"});
        let requests = [
            (Method::GET, format!("projects/{project}"), None),
            (Method::PATCH, format!("projects/{project}"), Some(json!({"name": "taken"}))),
            (Method::DELETE, format!("projects/{project}"), None),
            (Method::GET, format!("projects/{project}/canvas"), None),
            (Method::GET, format!("projects/{project}/nodes"), None),
            (Method::POST, format!("projects/{project}/nodes"), Some(json!({"title": "mine"}))),
            (Method::POST, format!("projects/{project}/nodes:batch"), Some(json!({"delete": [node]}))),
            (Method::GET, format!("projects/{project}/connections"), None),
            (Method::POST, format!("projects/{project}/connections"), Some(edge.clone())),
            (Method::GET, format!("projects/{project}/ai-tasks"), None),
            (Method::POST, format!("projects/{project}/ai-tasks"), Some(analysis.clone())),
            (Method::GET, format!("nodes?project_id={project}"), None),
            (Method::POST, "nodes".to_owned(), Some(json!({"title": "mine", "project_id": project}))),
            (Method::GET, format!("nodes/{node}"), None),
            (Method::PATCH, format!("nodes/{node}"), Some(json!({"title": "taken"}))),
            (Method::DELETE, format!("nodes/{node}"), None),
            (Method::GET, format!("nodes/{node}/versions"), None),
            (Method::GET, format!("connections?project_id={project}"), None),
            (Method::POST, "connections".to_owned(), Some(edge.clone())),
            (Method::POST, "connections".to_owned(), Some(with(edge, "project_id", project))),
            (Method::GET, format!("connections/{connection}"), None),
            (Method::PATCH, format!("connections/{connection}"), Some(json!({"weight": 0}))),
            (Method::DELETE, format!("connections/{connection}"), None),
            (Method::GET, format!("ai-tasks?project_id={project}"), None),
            (Method::POST, "ai-tasks".to_owned(), Some(with(analysis, "project_id", project))),
            (Method::GET, format!("ai-tasks/{task}"), None),
            (Method::PATCH, format!("ai-tasks/{task}"), Some(json!({"priority": "low"}))),
            (Method::DELETE, format!("ai-tasks/{task}"), None),
            (Method::POST, format!("ai-tasks/{task}/cancel"), None),
            (Method::POST, format!("ai-tasks/{task}/retry"), None),
        ];
        let request = |(method, path, body)| Request { method, path: format!("/api/v1/{path}"), body };
        requests.into_iter().map(request).collect()
    }
}

#[tokio::test]
async fn what_is_anothers_looks_like_what_is_not_there() -> Result<()> {
    let world = World::new().await?;
    let things = Things::of(&world).await?;
    let (stranger, _) = world.stranger().await?;
    let before = everything(&world.user, &things).await?;
    for (request, unknown) in things.requests().iter().zip(Things::unknown().requests()) {
        let what = format!("{} {}", request.method, request.path);
        let refused = send(&stranger, request).await?.expect_problem(404, "not_found").context(what.clone())?;
        assert!(!refused.text.contains("secret"), "{what}: {}", refused.text);
        let missing = send(&stranger, &unknown).await?.expect_problem(404, "not_found").context(what.clone())?;
        for member in ["type", "title", "detail", "code"] {
            assert_eq!(refused.body[member], missing.body[member], "{what}");
        }
    }
    assert_eq!(everything(&world.user, &things).await?, before, "nothing has changed");
    Ok(())
}

/// What the owner sees of them.
async fn everything(owner: &Api, things: &Things) -> Result<Vec<String>> {
    let mut seen = Vec::new();
    for path in [
        format!("projects/{}/nodes", things.project),
        format!("projects/{}/connections", things.project),
        format!("projects/{}/ai-tasks", things.project),
        format!("ai-tasks/{}", things.task),
    ] {
        seen.push(owner.get(&format!("/api/v1/{path}")).await?.expect(200)?.text);
    }
    let project = owner.get(&format!("/api/v1/projects/{}", things.project)).await?.expect(200)?;
    seen.push(project.string("name")?);
    Ok(seen)
}

#[tokio::test]
async fn without_a_token_there_is_nothing_at_all() -> Result<()> {
    let world = World::new().await?;
    let things = Things::of(&world).await?;
    for request in things.requests() {
        let what = format!("{} {}", request.method, request.path);
        send(&world.store.http, &request).await?.expect_problem(401, "unauthenticated").context(what)?;
    }
    for list in ["projects", "nodes", "connections", "ai-tasks", "users", "auth/me"] {
        world.store.http.get(&format!("/api/v1/{list}")).await?.expect_problem(401, "unauthenticated")?;
    }
    Ok(())
}

#[tokio::test]
async fn lists_hold_ones_own_and_nothing_else() -> Result<()> {
    let world = World::new().await?;
    let things = Things::of(&world).await?;
    let (stranger, [project, one, two, connection]) = world.stranger().await?;
    for (list, expected) in [
        ("projects", vec![project.as_str()]),
        ("nodes", vec![one.as_str(), two.as_str()]),
        ("connections", vec![connection.as_str()]),
        ("ai-tasks", vec![]),
        ("nodes?q=secret", vec![]),
    ] {
        let page = stranger.get(&format!("/api/v1/{list}")).await?.expect(200)?;
        assert_eq!(ids(&page)?, expected, "{list}");
    }
    for filter in [format!("nodes?q={}", things.node), format!("connections?source_node_id={}", things.node)] {
        let page = stranger.get(&format!("/api/v1/{filter}")).await?.expect(200)?;
        assert_eq!(page.body["data"], json!([]), "{filter}");
    }
    Ok(())
}

#[tokio::test]
async fn another_users_account_does_not_exist() -> Result<()> {
    let world = World::new().await?;
    let (stranger, _) = world.stranger().await?;
    let path = format!("/api/v1/users/{}", world.user_id);
    stranger.get(&path).await?.expect_problem(404, "not_found")?;
    stranger.patch(&path, &json!({"username": "taken"}), None).await?.expect_problem(404, "not_found")?;
    stranger.get("/api/v1/users").await?.expect_problem(403, "forbidden")?;
    let me = world.user.get(&path).await?.expect(200)?;
    assert_eq!(me.body["id"], json!(world.user_id));
    let promoted = world.user.patch(&path, &json!({"role": "admin"}), None).await?;
    promoted.expect_problem(403, "forbidden").context("nobody makes themselves an administrator")?;
    Ok(())
}

#[tokio::test]
async fn an_administrator_sees_everything() -> Result<()> {
    let world = World::new().await?;
    let things = Things::of(&world).await?;
    let admin = world.store.admin().await?;
    for path in [
        world.path(""),
        format!("/api/v1/nodes/{}", things.node),
        format!("/api/v1/ai-tasks/{}", things.task),
        format!("/api/v1/users/{}", world.user_id),
    ] {
        admin.get(&path).await?.expect(200).context(path)?;
    }
    let users = admin.get("/api/v1/users").await?.expect(200)?;
    assert_eq!(ids(&users)?.len(), 2);
    assert!(!users.text.contains("argon2"), "{}", users.text);
    Ok(())
}

#[tokio::test]
async fn a_task_names_nodes_of_its_own_project_only() -> Result<()> {
    let world = World::new().await?;
    let (_, [_, theirs, ..]) = world.stranger().await?;
    let mut details = Vec::new();
    for node in [theirs, new_id().to_string()] {
        let body = json!({"type": "semantic_analysis", "node_id": node, "input_data": {"node_ids": [node]}});
        let refused = world.user.post(&world.path("/ai-tasks"), &body).await?.expect(400)?;
        let mut fields = refused.field_errors();
        fields.sort_unstable();
        assert_eq!(fields, ["input_data.node_ids[0]", "node_id"], "{}", refused.text);
        details.push(refused.body["errors"].clone());
    }
    assert_eq!(details[0], details[1]);
    Ok(())
}

#[tokio::test]
async fn a_path_that_names_no_id_names_nothing() -> Result<()> {
    let world = World::new().await?;
    for path in [
        "projects/7",
        "projects/not-an-id/nodes",
        "nodes/%00",
        "ai-tasks/..%2f",
        "nowhere",
        "nodes/",
        "ai-tasks/0198C0DE-0000-7000-8000-000000000000",
    ] {
        let answer = world.user.get(&format!("/api/v1/{path}")).await?;
        assert!([400, 404].contains(&answer.status.as_u16()), "{path}: {}", answer.text);
        assert!(
            answer.header("content-type").is_some_and(|kind| kind.starts_with("application/problem+json")),
            "{path}"
        );
    }
    Ok(())
}
