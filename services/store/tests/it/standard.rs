//! What every service has (SPEC.md, section 0).

use anyhow::{Context as _, Result};
use reqwest::Method;
use serde_json::{Value, json};
use sker_testkit::eventually;

use super::support::{TestStore, World};

async fn until_ready(store: &TestStore) -> Result<()> {
    eventually("the store is ready", async || {
        let answer = store.http.get("/ready").await?;
        Ok((answer.status == 200).then_some(()))
    })
    .await
}

#[tokio::test]
async fn health_names_each_check_and_how_old_it_is() -> Result<()> {
    let store = TestStore::new().await?;
    until_ready(&store).await?;
    let health = store.http.get("/health").await?.expect(200)?;
    assert_eq!((&health.body["service"], &health.body["status"]), (&json!("store"), &json!("healthy")));
    assert!(health.body["version"].is_string() && health.body["uptime_ms"].is_u64(), "{}", health.text);
    let checks = health.body["checks"].as_array().context("checks")?;
    let names: Vec<&str> = checks.iter().filter_map(|check| check["name"].as_str()).collect();
    assert!(names.contains(&"database") && names.contains(&"bus"), "{names:?}");
    assert!(checks.iter().all(|check| check["age_ms"].is_u64() && check["status"].is_string()), "{}", health.text);
    Ok(())
}

#[tokio::test]
async fn metrics_and_the_description_of_the_api_are_served() -> Result<()> {
    let store = TestStore::new().await?;
    store.http.get("/api/v1/projects").await?.expect(401)?;
    let metrics = store.http.get("/metrics").await?.expect(200)?;
    assert!(metrics.text.contains("# TYPE"), "{}", metrics.text);
    for path in ["/docs", "/api/docs"] {
        let docs = store.http.get(path).await?;
        assert!(docs.status.is_success(), "{path}: {}", docs.status);
    }
    let described = store.http.get("/openapi.json").await?.expect(200)?;
    assert!(described.string("openapi")?.starts_with("3.1"));
    for (path, methods) in [
        ("/api/v1/auth/register", vec!["post"]),
        ("/api/v1/auth/login", vec!["post"]),
        ("/api/v1/auth/refresh", vec!["post"]),
        ("/api/v1/auth/logout", vec!["post"]),
        ("/api/v1/auth/me", vec!["get"]),
        ("/api/v1/projects", vec!["get", "post"]),
        ("/api/v1/nodes", vec!["get", "post"]),
        ("/api/v1/connections", vec!["get", "post"]),
        ("/api/v1/ai-tasks", vec!["get", "post"]),
    ] {
        for method in methods {
            assert!(described.body["paths"][path][method].is_object(), "{method} {path} is described");
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_too() -> Result<()> {
    let world = World::new().await?;
    for path in ["/", "/api", "/api/v1/nowhere", "/api/v2/projects"] {
        world.user.get(path).await?.expect_problem(404, "not_found").context(path)?;
    }
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
    assert!(!id.is_empty() && !id.contains('<'), "{id}");
    let refused = world.user.request(Method::GET, "/api/v1/nodes/7").header("X-Request-Id", "my-request-2");
    let refused = world.user.send(refused).await?;
    assert_eq!(refused.body["request_id"], "my-request-2", "{}", refused.text);
    Ok(())
}

/// The longest of the routes whose path covers this one.
fn covering<'a>(routes: &'a [Value], path: &str) -> Option<&'a Value> {
    let covers = |route: &&Value| {
        let pattern = route["path"].as_str().unwrap_or_default();
        match pattern.strip_suffix("/*") {
            Some(prefix) => path == prefix || path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/')),
            None => path == pattern,
        }
    };
    routes.iter().filter(covers).max_by_key(|route| route["path"].as_str().map_or(0, str::len))
}

#[tokio::test]
async fn the_store_registers_itself_with_its_routes_and_deregisters_when_it_stops() -> Result<()> {
    let store = TestStore::new().await?;
    let registry = store.setup.registry.clone();
    let instance = eventually("the store is registered", async || Ok(registry.instances().into_iter().next())).await?;
    assert_eq!((instance.group_name.as_str(), instance.service_name.as_str()), ("sker-platform", "store"));
    let port = reqwest::Url::parse(store.http.base())?.port().context("a port")?;
    assert_eq!((instance.host_address.as_str(), instance.port_number), ("127.0.0.1", u32::from(port)));
    let metadata: Value = serde_json::from_str(&instance.metadata_json)?;
    let routes = metadata["routes"].as_array().context("routes")?;
    for (path, auth) in [
        ("/api/v1/auth/login", "none"),
        ("/api/v1/auth/register", "none"),
        ("/api/v1/auth/refresh", "none"),
        ("/api/v1/projects", "user"),
        ("/api/v1/projects/7/nodes:batch", "user"),
        ("/api/v1/nodes/7", "user"),
        ("/api/v1/connections", "user"),
        ("/api/v1/ai-tasks/7/cancel", "user"),
        ("/api/v1/users/7", "user"),
        ("/api/system/stats", "admin"),
    ] {
        let route = covering(routes, path).with_context(|| format!("a route for {path}: {routes:?}"))?;
        assert_eq!(route["auth"], auth, "{path}: {route}");
    }
    store.stop().await?;
    assert_eq!(registry.instances(), []);
    Ok(())
}

#[tokio::test]
async fn system_answers_are_for_administrators() -> Result<()> {
    let world = World::new().await?;
    world.node("one").await?;
    let admin = world.store.admin().await?;
    for path in ["/api/system/health", "/api/system/stats"] {
        world.user.get(path).await?.expect_problem(403, "forbidden").context(path)?;
        world.store.http.get(path).await?.expect_problem(401, "unauthenticated").context(path)?;
        admin.get(path).await?.expect(200).context(path)?;
    }
    Ok(())
}
