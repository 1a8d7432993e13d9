use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::Response;
use serde_json::json;
use sker_cache::MemoryLogOptions;
use sker_types::Role;

use crate::support::{Platform, Upstream, empty, request, send, soon, text, until};

#[tokio::test]
async fn an_untrusted_registration_changes_no_route() {
    let platform = Platform::start().await;
    let (store, thief) = (Upstream::saying("store").await, Upstream::saying("thief").await);
    platform.serve("store", store.address, json!([{"path": "/api/v1/*", "auth": "none"}])).await;
    let claims = json!([{"path": "/api/v1/auth/login", "auth": "none"}, {"path": "/stolen", "auth": "none"}]);
    let mut fake = platform.instance("store", thief.address, claims);
    fake.trusted = false;
    platform.registry.upsert(fake.clone());
    fake.group_name = "default".into();
    fake.instance_id = "other".into();
    platform.registry.upsert(fake);
    until(|| async { platform.routes().await["conflicts"].as_array().unwrap().len() >= 2 }).await;
    let login = send(platform.address, request("POST", "/api/v1/auth/login").body(text("{}")).unwrap()).await;
    assert_eq!(login.text(), "store");
    assert_eq!(platform.get("/stolen", None).await.status, 404);
}

#[tokio::test]
async fn routes_are_for_administrators_to_see() {
    let platform = Platform::start().await;
    assert_eq!(platform.get("/api/v1/routes", None).await.code(), "unauthenticated");
    assert_eq!(platform.get("/api/v1/routes", Some(&platform.token(Role::User))).await.code(), "forbidden");
    let upstream = Upstream::saying("s").await;
    let routes = json!([{"path": "/api/v1/*", "methods": ["GET"], "timeout_ms": 5000}]);
    platform.serve("store", upstream.address, routes).await;
    let listed = platform.routes().await;
    let route = &listed["routes"][0];
    assert_eq!((route["path"].as_str(), route["auth"].as_str()), (Some("/api/v1/*"), Some("user")));
    assert_eq!((route["service"].as_str(), route["timeout_ms"].as_u64()), (Some("store"), Some(5000)));
    assert_eq!(route["instances"][0]["address"], upstream.address.to_string());
    assert_eq!(listed["complete"], true);
}

#[tokio::test]
async fn a_gateway_that_has_heard_no_registry_is_not_ready_and_knows_no_404() {
    let platform = Platform::deaf(&[], MemoryLogOptions::default()).await;
    for path in ["/ready", "/api/v1/projects", "/elsewhere"] {
        assert_eq!(platform.get(path, None).await.status, 503, "{path}");
    }
    assert_eq!(platform.get("/health", None).await.status, 200);
    platform.registry.speak();
    soon(platform.health.until_ready()).await;
    assert_eq!(platform.get("/ready", None).await.status, 200);
    assert_eq!(platform.get("/elsewhere", None).await.status, 404);
}

#[tokio::test]
async fn the_last_routes_outlive_the_registry_and_its_memory() {
    let (platform, upstream) = (Platform::start().await, Upstream::saying("here").await);
    platform.serve("store", upstream.address, json!([{"path": "/api/v1/*", "auth": "none"}])).await;
    platform.registry.set_away(true);
    assert_eq!(platform.get("/api/v1/x", None).await.text(), "here");
    // It comes back and remembers nobody.
    platform.registry.forget();
    platform.registry.set_away(false);
    let other = Upstream::saying("other").await;
    platform.serve("other", other.address, json!([{"path": "/other", "auth": "none"}])).await;
    assert_eq!(platform.get("/other", None).await.text(), "other");
    assert_eq!(platform.get("/api/v1/x", None).await.text(), "here");
    assert_eq!(platform.get("/ready", None).await.status, 200);
}

#[tokio::test]
async fn a_route_changes_without_a_dropped_request() {
    let platform = Arc::new(Platform::start().await);
    let slow = || {
        Upstream::start(|_| async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            Response::new(text("ok"))
        })
    };
    let routes = || json!([{"path": "/api/v1/*", "auth": "none"}]);
    let first = slow().await;
    let mut current = platform.serve("store", first.address, routes()).await;
    let done = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (platform, done) = (Arc::clone(&platform), Arc::clone(&done));
            tokio::spawn(async move {
                let mut answers = 0;
                while !done.load(Ordering::SeqCst) {
                    let answer = platform.get("/api/v1/x", None).await;
                    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "ok"));
                    answers += 1;
                }
                answers
            })
        })
        .collect();
    // Each generation is registered before the one before it leaves; it finishes what it has begun and then goes.
    let mut generations = vec![first];
    for _ in 0..5 {
        let next = slow().await;
        let registered = platform.serve("store", next.address, routes()).await;
        platform.registry.remove(&current.instance_id);
        let gone = current.instance_id.clone();
        until(|| async { !platform.routes().await.to_string().contains(&gone) }).await;
        current = registered;
        generations.push(next);
    }
    done.store(true, Ordering::SeqCst);
    for client in clients {
        assert!(client.await.unwrap() > 0);
    }
}

#[tokio::test]
async fn the_gateways_own_file_may_hold_routes_and_allow_groups() {
    let (fixed, partner) = (Upstream::saying("fixed").await, Upstream::saying("partner").await);
    let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    let text = format!(
        "routes.groups = [\"partners\"]\n[[routes.fixed]]\npath = \"/legacy/*\"\nauth = \"none\"\nupstreams = [\"{}\"]\n",
        fixed.address
    );
    std::fs::write(file.path(), text).unwrap();
    let mut layers = sker_gateway::Config::defaults();
    layers.env.insert("JWT_SECRET".into(), "a secret of these tests, long enough".into());
    layers.file = Some(file.path().to_owned());
    let config = sker_gateway::Config::load(&layers).unwrap();
    assert_eq!((config.rules.fixed.len(), config.rules.groups.as_slice()), (1, &["partners".to_owned()][..]));

    let platform = Platform::with(&[("routes.groups", "[\"partners\"]")]).await;
    let claims = json!([{"path": "/api/v1/auth/login", "auth": "none"}, {"path": "/shop/*", "auth": "none"}]);
    let mut instance = platform.instance("shop", partner.address, claims);
    instance.group_name = "partners".into();
    instance.trusted = false;
    platform.registry.upsert(instance);
    until(|| async { platform.get("/shop/x", None).await.text() == "partner" }).await;
    assert_eq!(platform.get("/api/v1/auth/login", None).await.status, 503);
}

#[tokio::test]
async fn the_api_description_is_merged_from_the_services_behind_the_routes() {
    let upstream = Upstream::start(|request| async move {
        let document = json!({"openapi": "3.1.0", "paths": {
            "/api/v1/projects": {"get": {"summary": "Projects"}},
            "/health": {"get": {"summary": "Not for clients of the gateway"}},
        }});
        Response::new(text(if request.uri().path() == "/openapi.json" { document.to_string() } else { String::new() }))
    })
    .await;
    let platform = Platform::start().await;
    let described = || async { platform.get("/openapi.json", None).await.json() };
    assert!(described().await["paths"]["/ws"].is_object());
    platform.serve("store", upstream.address, json!([{"path": "/api/v1/*"}])).await;
    until(|| async { described().await["paths"]["/api/v1/projects"]["get"]["summary"] == "Projects" }).await;
    assert!(described().await["paths"].get("/health").is_none());
    let page = platform.get("/docs", None).await;
    assert!(page.status == 200 && page.text().contains("<html"));
    assert_eq!(platform.get("/api/docs/", None).await.status, 200);
}

#[tokio::test]
async fn every_service_answers_for_itself_under_the_standard_paths() {
    let platform = Platform::start().await;
    let health = platform.get("/health", None).await.json();
    assert_eq!(health["service"], "gateway");
    assert!(platform.get("/elsewhere", None).await.status == 404);
    let metrics = platform.get("/metrics", None).await.text();
    assert!(metrics.contains("http_requests_total{"), "{metrics}");
    let answer = send(platform.address, request("POST", "/health").body(empty()).unwrap()).await;
    assert_eq!(answer.status, 405);
}
