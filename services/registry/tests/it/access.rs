use anyhow::Result;
use reqwest::Method;
use serde_json::json;
use sker_types::Role;

use crate::support::{in_tenant, instance_with, ports, start, start_with};

fn hijack(group: &str) -> serde_json::Value {
    let routes = json!({"routes": [{"path": "/api/v1/auth/login", "methods": ["POST"], "auth": "none"}]});
    instance_with("store", 6666, json!({"groupName": group, "metadata": routes, "trusted": true}))
}

#[tokio::test]
async fn an_anonymous_registration_into_the_platforms_group_is_refused() -> Result<()> {
    let (server, _directory) = start().await?;
    server.api.post("/api/v1/instances", &hijack("sker-platform")).await?.expect_problem(403, "forbidden")?;
    for path in [
        "/api/v1/services/registry/instances?groupName=sker-platform",
        "/api/v1/services/registry?groupName=sker-platform",
        "/api/v1/groups/sker-platform",
        "/api/v1/groups/sker-platform/services",
        "/api/v1/services?groupName=sker-platform",
        "/api/v1/events?groupName=sker-platform",
    ] {
        server.api.get(path).await?.expect_problem(403, "forbidden")?;
    }
    let user = server.as_role(Role::User)?;
    user.post("/api/v1/instances", &hijack("sker-platform")).await?.expect_problem(403, "forbidden")?;
    server.stop().await
}

#[tokio::test]
async fn a_claim_of_routes_elsewhere_is_kept_as_metadata_and_never_trusted() -> Result<()> {
    let (server, _directory) = start().await?;
    let answer = server.api.post("/api/v1/instances", &hijack("default")).await?.expect(201)?;
    assert_eq!(answer.body["trusted"], false);
    assert_eq!(answer.header("x-ignored-fields"), Some("trusted"));
    let service = server.as_role(Role::Service)?;
    let elsewhere = service.post("/api/v1/instances", &hijack("business")).await?.expect(201)?;
    assert_eq!(elsewhere.body["trusted"], false);
    let inside = service.post("/api/v1/instances", &hijack("sker-platform")).await?.expect(201)?;
    assert_eq!(inside.body["trusted"], true);
    server.stop().await
}

#[tokio::test]
async fn the_registry_finds_itself_with_its_route() -> Result<()> {
    let (server, _directory) = start().await?;
    let user = server.as_role(Role::User)?;
    let found = sker_testkit::eventually("the registry registers", async || {
        let answer = user.get("/api/v1/services/registry/instances?groupName=sker-platform").await?.expect(200)?;
        Ok((!ports(&answer).is_empty()).then_some(answer))
    })
    .await?;
    let own = &found.body["instances"][0];
    assert_eq!(own["trusted"], true);
    let route = &own["metadata"]["routes"][0];
    assert_eq!((&route["path"], &route["strip_prefix"]), (&json!("/api/v1/registry/*"), &json!("/api/v1/registry")));
    assert_eq!((&route["rewrite_prefix"], &route["auth"]), (&json!("/api/v1"), &json!("user")));
    assert!(server.api.base().ends_with(&format!(":{}", own["portNumber"])));
    server.stop().await
}

#[tokio::test]
async fn tenants_do_not_see_each_other() -> Result<()> {
    let (server, _directory) = start().await?;
    let service = server.as_role(Role::Service)?;
    let body = instance_with("shared", 7001, json!({}));
    let acme = in_tenant(&service, Method::POST, "/api/v1/instances", "acme", Some(&body)).await?.expect(201)?;
    let id = acme.string("instanceId")?;
    for (method, path) in [
        (Method::GET, format!("/api/v1/instances/{id}")),
        (Method::PUT, format!("/api/v1/instances/{id}/heartbeat")),
        (Method::DELETE, format!("/api/v1/instances/{id}")),
    ] {
        in_tenant(&service, method, &path, "default", None).await?.expect_problem(404, "not_found")?;
    }
    let beats = json!({"instanceIds": [id]});
    let renewed = service.post("/api/v1/instances/heartbeats", &beats).await?.expect(200)?;
    assert_eq!(renewed.body, json!({"renewed": 0, "unknown": [id]}));
    let path = "/api/v1/services/shared/instances";
    assert!(ports(&in_tenant(&service, Method::GET, path, "default", None).await?).is_empty());
    assert_eq!(ports(&in_tenant(&service, Method::GET, path, "acme", None).await?), [7001]);
    let services = in_tenant(&service, Method::GET, "/api/v1/services", "other", None).await?.expect(200)?;
    assert_eq!(services.body["services"], json!([]));
    in_tenant(&server.api, Method::GET, path, "acme", None).await?.expect_problem(403, "forbidden")?;
    in_tenant(&service, Method::GET, path, "a b", None).await?.expect_problem(400, "invalid_request")?;
    server.stop().await
}

#[tokio::test]
async fn with_authentication_on_a_token_is_asked_for_and_groups_are_guarded() -> Result<()> {
    let (server, _directory) = start_with(&[("auth.enabled", "true")]).await?;
    server.api.get("/api/v1/services").await?.expect_problem(401, "unauthenticated")?;
    server.api.with_token("nonsense").get("/api/v1/services").await?.expect_problem(401, "unauthenticated")?;
    let (owner, stranger) = (server.as_role(Role::User)?, server.as_role(Role::User)?);
    let group = json!({"groupName": "closed", "accessControlEnabled": "Y"});
    owner.post("/api/v1/groups", &group).await?.expect(201)?;
    let body = instance_with("a", 7001, json!({"groupName": "closed"}));
    stranger.post("/api/v1/instances", &body).await?.expect_problem(403, "forbidden")?;
    let id = owner.post("/api/v1/instances", &body).await?.expect(201)?.string("instanceId")?;
    stranger.get(&format!("/api/v1/instances/{id}")).await?.expect_problem(404, "not_found")?;
    stranger.get("/api/v1/services/a/instances?groupName=closed").await?.expect_problem(403, "forbidden")?;
    for (api, expected) in [(&stranger, false), (&owner, true)] {
        let listed = api.get("/api/v1/services").await?.expect(200)?.body;
        let services = listed["services"].as_array().expect("services");
        assert_eq!(services.iter().any(|service| service["groupName"] == "closed"), expected);
    }
    in_tenant(&owner, Method::GET, "/api/v1/services", "acme", None).await?.expect_problem(403, "forbidden")?;
    server.stop().await
}

#[tokio::test]
async fn without_anonymous_callers_even_this_machine_needs_a_token() -> Result<()> {
    let (server, _directory) = start_with(&[("registry.anonymous", "false")]).await?;
    server.api.get("/api/v1/services").await?.expect_problem(401, "unauthenticated")?;
    server.as_role(Role::User)?.get("/api/v1/services").await?.expect(200)?;
    server.api.get("/health").await?.expect(200)?;
    server.stop().await
}

#[tokio::test]
async fn a_proxy_on_this_machine_does_not_make_its_callers_local() -> Result<()> {
    let (server, _directory) = start().await?;
    let request = server.api.request(Method::GET, "/api/v1/services").header("X-Forwarded-For", "203.0.113.7");
    server.api.send(request).await?.expect_problem(401, "unauthenticated")?;
    server.stop().await
}
