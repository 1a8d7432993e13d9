use anyhow::Result;
use reqwest::Method;
use serde_json::json;

use crate::support::{instance, instance_with, ports, start};

#[tokio::test]
async fn every_filter_that_is_named_must_hold() -> Result<()> {
    let (server, _directory) = start().await?;
    let blue = json!({"tags": ["blue", "new"], "metadata": {"version": "1", "zone": 7}});
    server.register(&instance_with("a", 7001, blue)).await?;
    let green = json!({"tags": ["green"], "metadata": {"version": "2"}, "instanceStatus": "out_of_service"});
    server.register(&instance_with("a", 7002, green)).await?;
    server.register(&instance_with("a", 7003, json!({"healthStatus": "UNHEALTHY", "tags": ["blue"]}))).await?;
    for (query, expected) in [
        ("", vec![7001, 7002, 7003]),
        ("?status=UP", vec![7001, 7003]),
        ("?status=UP&health=HEALTHY", vec![7001]),
        ("?health=unhealthy", vec![7003]),
        ("?tags=blue", vec![7001, 7003]),
        ("?tags=blue,new", vec![7001]),
        ("?tags=blue&tags=new", vec![7001]),
        ("?metadata.version=2", vec![7002]),
        ("?metadata.version=1&metadata.zone=7", vec![7001]),
        ("?metadata.version=3", vec![]),
        ("?groupName=elsewhere", vec![]),
    ] {
        let answer = server.discover("a", query).await?.expect(200)?;
        assert_eq!(ports(&answer), expected, "{query}");
    }
    let answer = server.discover("a", "?status=SLEEPY&health=SO-SO").await?.expect_problem(400, "validation_failed")?;
    assert_eq!(answer.field_errors(), ["status", "health"]);
    let answer = server.discover("a", "?zone=1").await?.expect(200)?;
    assert_eq!(answer.header("x-ignored-fields"), Some("zone"));
    assert_eq!(server.discover("unknown", "").await?.expect(200)?.body["instances"], json!([]));
    server.stop().await
}

#[tokio::test]
async fn what_a_client_has_already_is_not_sent_again() -> Result<()> {
    let (server, _directory) = start().await?;
    server.register(&instance("a", 7001)).await?;
    let first = server.discover("a", "").await?.expect(200)?;
    let etag = first.header("etag").expect("an ETag").to_owned();
    assert_eq!(etag, format!("\"{}\"", first.string("revision")?));
    let ask = async |etag: &str| {
        let path = "/api/v1/services/a/instances";
        server.api.send(server.api.request(Method::GET, path).header("If-None-Match", etag)).await
    };
    let again = ask(&etag).await?.expect(304)?;
    assert_eq!((again.text.as_str(), again.header("etag")), ("", Some(etag.as_str())));
    server.register(&instance("other", 7001)).await?;
    server.register(&instance("a", 7001)).await?;
    ask(&etag).await?.expect(304)?;
    server.register(&instance("a", 7002)).await?;
    assert_eq!(ports(&ask(&etag).await?.expect(200)?), [7001, 7002]);
    server.stop().await
}

#[tokio::test]
async fn a_blocking_read_answers_when_the_service_changes_and_at_once_when_it_has() -> Result<()> {
    let (server, _directory) = start().await?;
    let index = server.discover("a", "").await?.expect(200)?.string("revision")?;
    let query = format!("?index={index}&wait=60s");
    let (answer, registered) = tokio::join!(server.discover("a", &query), async {
        server.register(&instance("other", 7001)).await?;
        server.register(&instance("a", 7001)).await
    });
    registered?;
    let answer = answer?.expect(200)?;
    assert_eq!(ports(&answer), [7001]);
    assert_eq!(
        ports(&server.discover("a", &query).await?.expect(200)?),
        [7001],
        "an index of the past waits for nothing"
    );
    let now = answer.string("revision")?;
    let unchanged = server.discover("a", &format!("?index={now}&wait=20ms")).await?.expect(200)?;
    assert_eq!(unchanged.string("revision")?, now);
    server.discover("a", "?index=1&wait=11m").await?.expect_problem(400, "validation_failed")?;
    server.discover("a", "?index=1&wait=soon").await?.expect_problem(400, "validation_failed")?;
    server.stop().await
}

#[tokio::test]
async fn a_waiting_reader_does_not_hold_up_a_stop() -> Result<()> {
    let (server, _directory) = start().await?;
    let index = server.discover("a", "").await?.expect(200)?.string("revision")?;
    let api = server.api.clone();
    let waiting =
        tokio::spawn(async move { api.get(&format!("/api/v1/services/a/instances?index={index}&wait=10m")).await });
    // Whether it waits already or is refused when it comes, it must have its answer.
    tokio::task::yield_now().await;
    server.stop().await?;
    drop(waiting.await?);
    Ok(())
}

#[tokio::test]
async fn lists_are_walked_to_their_end() -> Result<()> {
    let (server, _directory) = start().await?;
    for service in ["a", "b", "c", "d", "e"] {
        server.register(&instance(service, 7001)).await?;
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = server.api.get(&format!("/api/v1/services?limit=2&cursor={cursor}")).await?.expect(200)?.body;
        assert_eq!(page["total"], 5);
        for service in page["services"].as_array().expect("services") {
            seen.push(service["serviceName"].as_str().expect("a name").to_owned());
            assert_eq!((&service["implicit"], &service["instanceCount"]), (&json!(true), &json!(1)));
        }
        match page["nextCursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, ["a", "b", "c", "d", "e"]);
    server.stop().await
}

#[tokio::test]
async fn numbers_add_up() -> Result<()> {
    let (server, _directory) = start().await?;
    server.register(&instance("a", 7001)).await?;
    server.register(&instance_with("a", 7002, json!({"healthStatus": "UNHEALTHY", "groupName": "g"}))).await?;
    server.register(&instance_with("b", 7003, json!({"ephemeral": false, "instanceStatus": "DOWN"}))).await?;
    let all = server.api.get("/api/v1/stats").await?.expect(200)?.body;
    assert_eq!([&all["groups"], &all["services"], &all["instances"], &all["healthyInstances"]], [2, 3, 3, 1]);
    let instances = server.api.get("/api/v1/stats/instances").await?.expect(200)?.body;
    assert_eq!([&instances["total"], &instances["ephemeral"], &instances["persistent"]], [3, 2, 1]);
    assert_eq!(instances["byStatus"], json!({"UP": 2, "DOWN": 1, "STARTING": 0, "OUT_OF_SERVICE": 0}));
    assert_eq!(instances["byGroup"], json!({"default": 2, "g": 1}));
    let health = server.api.get("/api/v1/stats/health").await?.expect(200)?.body;
    assert_eq!([&health["healthy"], &health["unhealthy"], &health["unknown"]], [1, 1, 1]);
    assert_eq!(health["servicesWithoutHealthyInstance"], json!(["default/b", "g/a"]));
    // What is counted over all tenants is no tenant's business.
    for (body, field) in [
        (&all, "registrations"),
        (&all, "deregistrations"),
        (&all, "heartbeats"),
        (&all, "expirations"),
        (&health, "expirations"),
    ] {
        assert!(body.get(field).is_none(), "{field} shows in {body}");
    }
    let metrics = server.api.get("/metrics").await?.expect(200)?.text;
    assert!(metrics.lines().any(|line| line.starts_with("registry_registrations_total")), "{metrics}");
    server.stop().await
}
