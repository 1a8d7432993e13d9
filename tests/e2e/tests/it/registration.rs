//! The registry as its seed document shows it, and the gateway's routes, which come from it.

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use sker_testkit::{Api, eventually};
use tokio::net::TcpListener;

use crate::world::World;

/// The examples of the seed document, word for word.
const REGISTER: &str = r#"curl -X POST http://localhost:8080/api/v1/instances \
  -H "Content-Type: application/json" \
  -H "X-Tenant-Id: default" \
  -d '{
    "serviceName": "user-service",
    "groupName": "business",
    "hostAddress": "192.168.1.100",
    "portNumber": 8080,
    "contextPath": "/api/v1",
    "instanceStatus": "UP",
    "healthStatus": "HEALTHY",
    "weightValue": 100,
    "clientType": "SERVICE",
    "metadataJson": "{\"version\":\"1.0.0\",\"protocol\":\"http\"}",
    "tagsJson": "[\"production\",\"stable\"]"
  }'"#;
const DISCOVER: &str = r#"curl "http://localhost:8080/api/v1/services/user-service/instances?groupName=business&status=UP&health=HEALTHY" \
  -H "X-Tenant-Id: default""#;
const HEARTBEAT: &str = r#"curl -X PUT http://localhost:8080/api/v1/instances/{instanceId}/heartbeat \
  -H "X-Tenant-Id: default""#;
const CREATE_GROUP: &str = r#"curl -X POST http://localhost:8080/api/v1/groups \
  -H "Content-Type: application/json" \
  -H "X-Tenant-Id: default" \
  -d '{
    "groupName": "business",
    "groupDescription": "业务服务分组",
    "groupType": "BUSINESS",
    "ownerUserId": "admin",
    "accessControlEnabled": "Y",
    "defaultProtocolType": "HTTP",
    "defaultLoadBalanceStrategy": "ROUND_ROBIN",
    "defaultHealthCheckUrl": "/health",
    "defaultHealthCheckIntervalSeconds": 30
  }'"#;

/// Splits a command as a shell does, as far as the examples need it.
fn words(command: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = command.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (Some(_), _) => word.get_or_insert_default().push(letter),
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            // A backslash before a line break joins lines.
            (None, '\\') => drop(letters.next()),
            (None, _) if letter.is_whitespace() => words.extend(word.take()),
            (None, _) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

/// Runs an example against a registry: with curl itself where there is one, else as curl would.
async fn curl(registry: &Api, example: &str) -> Result<(u16, Value)> {
    let example = example.replace("http://localhost:8080", registry.base());
    let (status, body) = if Command::new("curl").arg("--version").output().is_ok() {
        let silent = example.replacen("curl ", "curl -sS --noproxy '*' -w '\\n%{http_code}' ", 1);
        let output = tokio::process::Command::new("sh").args(["-c", &silent]).output().await?;
        let output = String::from_utf8(output.stdout)?;
        let (body, status) = output.trim_end().rsplit_once('\n').context("a body and a status")?;
        (status.parse()?, body.to_owned())
    } else {
        let (mut method, mut url, mut headers, mut data) = (None, None, Vec::new(), None);
        let mut arguments = words(&example).into_iter().skip(1);
        while let Some(word) = arguments.next() {
            match word.as_str() {
                "-X" => method = arguments.next(),
                "-H" => headers.extend(arguments.next()),
                "-d" => data = arguments.next(),
                _ => url = Some(word),
            }
        }
        let path = url.context("a URL")?.replacen(registry.base(), "", 1);
        let method = method.unwrap_or_else(|| "GET".to_owned());
        let mut request = registry.request(method.parse()?, &path);
        for header in headers {
            let (name, value) = header.split_once(": ").context("a header")?;
            request = request.header(name.to_owned(), value.to_owned());
        }
        if let Some(data) = data {
            request = request.body(data);
        }
        let answer = registry.send(request).await?;
        (answer.status.as_u16(), answer.text)
    };
    Ok((status, serde_json::from_str(&body).with_context(|| format!("{status}: {body}"))?))
}

#[test]
fn the_examples_are_split_as_a_shell_does() {
    assert_eq!(words("a -H \"b c\" \\\n  -d '{\"d\": \"e f\"}'"), ["a", "-H", "b c", "-d", "{\"d\": \"e f\"}"]);
}

#[tokio::test]
async fn the_examples_of_the_seed_work_as_printed() -> Result<()> {
    let world = World::new().await?;
    let registry = world.platform.registry()?;
    let (status, instance) = curl(&registry, REGISTER).await?;
    assert_eq!(status, 201, "{instance}");
    let id = instance["serviceInstanceId"].as_str().context("serviceInstanceId")?;
    assert_eq!(instance["instanceId"], id);
    assert_eq!((&instance["hostAddress"], &instance["portNumber"]), (&json!("192.168.1.100"), &json!(8080)));
    assert_eq!(instance["metadata"], json!({"version": "1.0.0", "protocol": "http"}));
    assert_eq!(instance["tags"], json!(["production", "stable"]));
    let (status, again) = curl(&registry, REGISTER).await?;
    assert_eq!((status, &again["serviceInstanceId"]), (200, &json!(id)), "registering again changes nothing");

    let (status, found) = curl(&registry, DISCOVER).await?;
    assert_eq!(status, 200, "{found}");
    assert_eq!((&found["serviceName"], &found["groupName"]), (&json!("user-service"), &json!("business")));
    let ids: Vec<&Value> =
        found["instances"].as_array().context("instances")?.iter().map(|i| &i["instanceId"]).collect();
    assert_eq!(ids, [&json!(id)]);

    let (status, beat) = curl(&registry, &HEARTBEAT.replace("{instanceId}", id)).await?;
    assert_eq!(status, 200, "{beat}");
    let (status, group) = curl(&registry, CREATE_GROUP).await?;
    assert_eq!((status, &group["groupDescription"]), (201, &json!("业务服务分组")), "{group}");
    let (status, twice) = curl(&registry, CREATE_GROUP).await?;
    assert_eq!((status, &twice["code"]), (409, &json!("conflict")), "{twice}");
    Ok(())
}

#[tokio::test]
async fn an_unknown_service_has_no_instances_and_an_unknown_instance_is_not_found() -> Result<()> {
    let world = World::new().await?;
    let registry = world.platform.registry()?;
    let found = registry.get("/api/v1/services/nobody/instances").await?.expect(200)?;
    assert_eq!(found.body["instances"], json!([]));
    let beat = registry.put("/api/v1/instances/no-such-instance/heartbeat", &json!({})).await?;
    beat.expect_problem(404, "not_found")?;
    Ok(())
}

#[tokio::test]
async fn an_anonymous_registration_changes_no_route() -> Result<()> {
    let world = World::new().await?;
    let (gateway, registry, admin) = (world.platform.gateway()?, world.platform.registry()?, world.admin().await?);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let visits = Arc::new(AtomicUsize::new(0));
    let counted = visits.clone();
    let trap = tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let before = admin.get("/api/v1/routes").await?.expect(200)?;

    let routes = json!([
        {"path": "/api/v1/auth/login", "methods": ["POST"], "auth": "none"},
        {"path": "/api/v1/*", "auth": "none"},
        {"path": "/api/database/*", "auth": "none"},
        {"path": "/ws", "auth": "none"},
    ]);
    for (number, (group, metadata)) in [
        ("default", json!({"metadata": {"routes": routes}})),
        ("default", json!({"metadata": {"routes": routes.to_string()}})),
        ("business", json!({"metadataJson": json!({"routes": routes}).to_string()})),
    ]
    .into_iter()
    .enumerate()
    {
        let mut body = json!({
            "serviceName": format!("impostor-{number}"),
            "groupName": group,
            "hostAddress": "127.0.0.1",
            "portNumber": port,
        });
        body.as_object_mut().context("an object")?.extend(metadata.as_object().context("an object")?.clone());
        registry.post("/api/v1/instances", &body).await?.expect(201)?;
        let found = registry.get(&format!("/api/v1/services/impostor-{number}/instances?groupName={group}")).await?;
        assert_eq!(found.body["instances"].as_array().map(Vec::len), Some(1), "{}", found.text);
    }
    let platform = json!({
        "serviceName": "store",
        "groupName": "sker-platform",
        "hostAddress": "127.0.0.1",
        "portNumber": port,
        "metadata": {"routes": routes},
    });
    registry.post("/api/v1/instances", &platform).await?.expect_problem(403, "forbidden")?;

    // Long enough for the gateway to hear of it: its routes follow within moments.
    for _ in 0..30 {
        let body = json!({"email": "nobody@example.org", "password": "not the password"});
        let answer = gateway.post("/api/v1/auth/login", &body).await?;
        // The throttle of sign-ins is the store's as well.
        if answer.body["code"] != "rate_limited" {
            answer.expect_problem(401, "unauthenticated")?;
        }
        world.user.get("/api/v1/projects").await?.expect(200)?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let after = admin.get("/api/v1/routes").await?.expect(200)?;
    assert!(!after.text.contains(&format!(":{port}")), "{}", after.text);
    assert_eq!(paths(&after.body)?, paths(&before.body)?);
    assert_eq!(visits.load(Ordering::SeqCst), 0, "the impostor is never called");
    trap.abort();
    Ok(())
}

/// The paths of a table of routes, sorted.
fn paths(routes: &Value) -> Result<Vec<String>> {
    let list = routes["data"].as_array().or(routes["routes"].as_array()).or(routes.as_array());
    let Some(list) = list else { bail!("no routes: {routes}") };
    let mut paths: Vec<String> = list.iter().filter_map(|route| route["path"].as_str()).map(str::to_owned).collect();
    paths.sort_unstable();
    if paths.is_empty() {
        bail!("no paths: {routes}");
    }
    Ok(paths)
}

#[tokio::test]
async fn what_nobody_serves_is_unavailable_for_now() -> Result<()> {
    let world = World::new().await?;
    let admin = world.admin().await?;
    world.user.get("/api/database/status").await?.expect(200)?;
    let registry = world.platform.registry()?.with_token(admin.token().context("signed in")?);
    let found =
        registry.get("/api/v1/services/database-service/instances?groupName=sker-platform").await?.expect(200)?;
    let id = found.body["instances"][0]["instanceId"].as_str().context("an instance")?.to_owned();
    let status = format!("/api/v1/instances/{id}/status");
    registry.put(&status, &json!({"instanceStatus": "OUT_OF_SERVICE"})).await?.expect(200)?;

    let refused = eventually("the gateway hears of it", async || {
        let answer = world.user.get("/api/database/status").await?;
        Ok((answer.status.as_u16() != 200).then_some(answer))
    })
    .await?;
    let refused = refused.expect_problem(503, "unavailable")?;
    let retry_after: u64 = refused.header("retry-after").context("Retry-After")?.parse()?;
    assert!(retry_after > 0);
    // Others are not concerned.
    world.user.get("/api/v1/projects").await?.expect(200)?;

    registry.delete(&status).await?.success()?;
    eventually("it is back", async || {
        let answer = world.user.get("/api/database/status").await?;
        Ok((answer.status.as_u16() == 200).then_some(()))
    })
    .await
}

#[tokio::test]
async fn every_service_is_registered_with_the_platform_and_answers_for_itself() -> Result<()> {
    let world = World::new().await?;
    let admin = world.admin().await?;
    let registry = world.platform.registry()?.with_token(admin.token().context("signed in")?);
    let ports = world.platform.ports().clone();
    for (service, port) in [
        ("gateway", ports.gateway),
        ("store", ports.store.0),
        ("broker", ports.broker.0),
        ("registry", ports.registry.0),
        ("database-service", ports.database_service.0),
    ] {
        let found = registry.get(&format!("/api/v1/services/{service}/instances?groupName=sker-platform")).await?;
        let found = found.expect(200)?;
        assert_eq!(found.body["instances"][0]["portNumber"], port, "{service}: {}", found.text);

        let own = Api::new(&format!("http://127.0.0.1:{port}"))?;
        let health = own.get("/health").await?.expect(200)?;
        assert_eq!(health.body["service"], service, "{}", health.text);
        for check in health.body["checks"].as_array().context("checks")? {
            assert!(check["age_ms"].is_u64(), "{service}: {check}");
        }
        own.get("/ready").await?.expect(200).context(service)?;
        assert!(own.get("/metrics").await?.expect(200)?.text.contains("# TYPE"), "{service}");
        let openapi = own.get("/openapi.json").await?.expect(200)?;
        assert!(openapi.body["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")), "{service}");
        for page in ["/docs", "/api/docs"] {
            let page = own.get(page).await?.success().context(service)?;
            assert!(page.text.contains("<html") || page.text.contains("<!"), "{service}");
        }
    }
    let anonymous = world.platform.registry()?;
    let hidden = anonymous.get("/api/v1/services/store/instances?groupName=sker-platform").await?;
    assert!(hidden.status.as_u16() == 403 || hidden.body["instances"] == json!([]), "{}", hidden.text);
    Ok(())
}
