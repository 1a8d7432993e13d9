//! What others hear of a change.

use std::{collections::HashSet, sync::Arc};

use anyhow::{Context as _, Result};
use reqwest::Method;
use serde_json::json;
use sker_bus::{Consumer, Message, topology};
use sker_telemetry::{LogConfig, LogOutput, TelemetryConfig};
use sker_testkit::{PATIENCE, eventually};
use sker_types::{ChannelEvent, DomainEvent};

use super::support::{Mood, MoodyBus, Setup, Wakes, World, lease_of};

async fn next(consumer: &mut Consumer) -> Result<Message> {
    let delivery = tokio::time::timeout(PATIENCE, consumer.recv()).await.context("no message came")?;
    let delivery = delivery.context("the queue is gone")?;
    let message = delivery.message.clone();
    delivery.ack().await?;
    Ok(message)
}

/// The next message that `wanted` holds for.
async fn until(consumer: &mut Consumer, wanted: impl Fn(&Message) -> bool) -> Result<Message> {
    loop {
        let message = next(consumer).await?;
        if wanted(&message) {
            return Ok(message);
        }
    }
}

#[tokio::test]
async fn a_task_is_followed_from_its_creation_to_its_result() -> Result<()> {
    let world = World::new().await?;
    let broker = world.broker("b");
    let node = world.node("one").await?;
    let task = world.queued_task(json!({"node_id": node})).await?;
    let lease = lease_of(&broker.claim(&task).await?);
    broker.progress(&lease, 30, "reading").await?;
    broker.progress(&lease, 60, "").await?;
    let output = json!({"tags": ["moon"], "engine": "test", "generative": false, "usage": {}});
    broker.complete(&lease, &output).await?;

    let project = format!("project:{}", world.project);
    for channel in [project.clone(), format!("task:{task}"), format!("user:{}", world.user_id)] {
        let events = world.heard(&channel, "ai_task.completed", &task).await?;
        let about: Vec<&ChannelEvent> = events.iter().filter(|event| event.data["id"] == task).collect();
        let kinds: Vec<&str> = about.iter().map(|event| event.kind.as_str()).collect();
        let expected = [
            "ai_task.created",
            "ai_task.queued",
            "ai_task.started",
            "ai_task.progress",
            "ai_task.progress",
            "ai_task.completed",
        ];
        assert_eq!(kinds, expected, "{channel}");
        assert!(events.windows(2).all(|pair| pair[0].seq < pair[1].seq), "{channel}: seq grows");
        let ids: HashSet<_> = events.iter().map(|event| event.id).collect();
        assert_eq!(ids.len(), events.len(), "{channel}: nothing twice");
        assert!(events.iter().all(|event| event.channel == channel));
        assert_eq!((&about[3].data["progress"], &about[3].data["message"]), (&json!(30), &json!("reading")));
        assert_eq!((&about[5].data["status"], &about[5].data["output_data"]), (&json!("completed"), &output));
    }
    let updated = world.heard(&project, "node.updated", &node).await?;
    assert_eq!(updated.last().context("an event")?.data["tags"], json!(["moon"]));
    Ok(())
}

#[tokio::test]
async fn every_change_is_heard_on_its_projects_channel() -> Result<()> {
    let world = World::new().await?;
    let (one, two) = (world.node("one").await?, world.node("two").await?);
    let edge = world.connection(&one, &two).await?;
    world.user.patch(&format!("/api/v1/connections/{edge}"), &json!({"weight": 0}), None).await?.expect(200)?;
    world.user.patch(&format!("/api/v1/nodes/{one}"), &json!({"content": "changed"}), None).await?.expect(200)?;
    world.user.delete(&format!("/api/v1/connections/{edge}")).await?.expect(204)?;
    world.user.delete(&format!("/api/v1/nodes/{two}")).await?.expect(204)?;
    world.user.patch(&world.path(""), &json!({"name": "renamed"}), None).await?.expect(200)?;
    world.user.delete(&world.path("")).await?.expect(204)?;
    let events = world.heard(&format!("project:{}", world.project), "project.deleted", &world.project).await?;
    let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    assert!(kinds.starts_with(&["project.created", "node.created", "node.created", "connection.created"]), "{kinds:?}");
    for (about, expected) in [
        (&one, vec!["node.created", "node.updated"]),
        (&two, vec!["node.created", "node.deleted"]),
        (&edge, vec!["connection.created", "connection.updated", "connection.deleted"]),
        (&world.project, vec!["project.created", "project.updated", "project.deleted"]),
    ] {
        let about: Vec<&ChannelEvent> = events.iter().filter(|event| event.data["id"] == **about).collect();
        assert_eq!(about.iter().map(|event| event.kind.as_str()).collect::<Vec<_>>(), expected);
        let versions: Vec<i64> = about.iter().filter_map(|event| event.data["version"].as_i64()).collect();
        assert!(versions.len() == about.len() && versions.is_sorted_by(|one, next| one < next), "{versions:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_change_that_changes_nothing_is_not_heard() -> Result<()> {
    let world = World::new().await?;
    let node = world.node("one").await?;
    let path = format!("/api/v1/nodes/{node}");
    let tag = world.user.get(&path).await?.header("etag").context("an ETag")?.to_owned();
    let same = world.user.patch(&path, &json!({"title": "one"}), None).await?.expect(200)?;
    assert_eq!(same.header("etag"), Some(tag.as_str()));
    world.user.patch(&path, &json!({"title": "two"}), None).await?.expect(200)?;
    let events = world.heard(&format!("project:{}", world.project), "node.updated", &node).await?;
    assert_eq!(events.last().context("an event")?.data["title"], "two");
    Ok(())
}

#[tokio::test]
async fn gateways_and_other_services_hear_the_same_events() -> Result<()> {
    let world = World::new().await?;
    let bus = &world.store.setup.bus;
    let mut live = bus.declare_exclusive(topology::WEBSOCKET_QUEUE_PREFIX, topology::REALTIME_FANOUT).await?;
    let mut domain = bus.declare_exclusive("test.", topology::EVENTS_TOPIC).await?;
    let content = "a".repeat(100_000);
    let node = world.user.create_node(&world.project, "large", &content).await?;

    let message = until(&mut live, |message| message.kind == "node.created").await?;
    let event: ChannelEvent = message.parse()?;
    assert_eq!(event.channel, format!("project:{}", world.project));
    assert_eq!((&event.data["id"], &event.data["title"]), (&json!(node), &json!("large")));
    assert!(message.body.len() < 10_000, "an event tells what to read and does not carry it");
    let logged = world.heard(&event.channel, "node.created", &node).await?;
    assert_eq!(logged.last(), Some(&event));

    let message = until(&mut domain, |message| message.key == "node.created").await?;
    let heard: DomainEvent = message.parse()?;
    assert_eq!((heard.id, heard.kind.as_str()), (event.id, "node.created"));
    assert_eq!((heard.aggregate_id.to_string(), &heard.data["id"]), (node.clone(), &json!(node)));
    assert_eq!(message.id, heard.id);
    Ok(())
}

#[tokio::test]
async fn an_account_is_heard_of_without_its_secrets() -> Result<()> {
    let setup = Setup::new().await?;
    let mut domain = setup.bus.declare_exclusive("test.", topology::EVENTS_TOPIC).await?;
    let store = setup.start().await?;
    store.http.sign_up().await?;
    for _ in 0..2 {
        let message = next(&mut domain).await?;
        assert_eq!(message.key, "user.created", "the administrator, then the user");
        let text = String::from_utf8_lossy(&message.body).into_owned();
        assert!(!text.contains("password") && !text.contains("argon2"), "{text}");
    }
    Ok(())
}

#[tokio::test]
async fn one_trace_goes_from_a_request_to_its_wake_up() -> Result<()> {
    // The only test that starts telemetry, which a process does once. Without it there are no traces.
    let log = LogConfig { output: LogOutput::Stderr, level: "error".to_owned(), ..LogConfig::default() };
    let _telemetry = sker_telemetry::init("test", &TelemetryConfig { log, otlp_endpoint: None })?;
    let world = World::new().await?;
    let mut work = world.store.setup.bus.consume(topology::PROCESS_QUEUE, 8).await?;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let body = json!({"type": "semantic_analysis", "input_data": {"inputs": ["x"]}});
    let request = world.user.request(Method::POST, &world.path("/ai-tasks")).json(&body);
    let request = request.header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
    world.user.send(request).await?.expect(201)?;
    let wake = next(&mut work).await?;
    let heard = wake.traceparent().context("the wake-up carries a traceparent")?;
    assert_eq!(heard.split('-').nth(1), Some(trace));
    Ok(())
}

#[tokio::test]
async fn what_the_bus_refuses_is_kept_and_delivered_later() -> Result<()> {
    for mood in [Mood::Away, Mood::Full] {
        let bus = Arc::new(MoodyBus::new(mood));
        let world = World::of(Setup::new().await?.with_bus(bus.clone())).await?;
        let mut wakes = Wakes::of(&*bus, topology::PROCESS_QUEUE).await?;
        let tasks = [world.task(json!({})).await?, world.task(json!({})).await?];
        let node = world.node("one").await?;
        assert_eq!(world.task_now(&tasks[0]).await?["status"], "pending", "{mood:?}: nobody was told of it yet");
        world.store.http.get("/health").await?.expect(200)?;

        bus.set(Mood::Good);
        for task in &tasks {
            assert_eq!(wakes.next().await?.task_id.to_string(), *task, "{mood:?}");
            world.until_status(task, "queued").await?;
        }
        let channel = format!("project:{}", world.project);
        world.heard(&channel, "node.created", &node).await?;
        world.heard(&channel, "ai_task.queued", &tasks[1]).await?;
        let events = world.channel(&channel).await?;
        let ids: HashSet<_> = events.iter().map(|event| event.id).collect();
        assert_eq!(ids.len(), events.len(), "{mood:?}: tried again, yet heard once");
    }
    Ok(())
}

#[tokio::test]
async fn what_was_not_delivered_before_a_stop_is_delivered_after_the_start() -> Result<()> {
    let bus = Arc::new(MoodyBus::new(Mood::Away));
    let world = World::of(Setup::new().await?.with_bus(bus)).await?;
    let node = world.node("one").await?;
    let task = world.task(json!({})).await?;
    let world = world.restart(Setup::after_a_crash).await?;
    let mut wakes = Wakes::of(&*world.store.setup.bus, topology::PROCESS_QUEUE).await?;
    wakes.until(&task).await?;
    let channel = format!("project:{}", world.project);
    world.heard(&channel, "project.created", &world.project).await?;
    world.heard(&channel, "node.created", &node).await?;
    let events = world.heard(&channel, "ai_task.queued", &task).await?;
    assert!(events.iter().any(|event| event.kind == "ai_task.created"));
    world.until_status(&task, "queued").await?;
    Ok(())
}

#[tokio::test]
async fn the_outbox_empties_itself() -> Result<()> {
    let world = World::new().await?;
    for number in 0..10 {
        world.node(&format!("{number}")).await?;
    }
    eventually("nothing waits to be relayed", async || {
        let metrics = world.store.http.get("/metrics").await?.expect(200)?;
        let mut lines = metrics.text.lines().filter(|line| !line.starts_with('#'));
        let waiting = lines.find(|line| line.contains("outbox_pending_rows")).context("the metric")?;
        Ok(waiting.ends_with(" 0").then_some(()))
    })
    .await
}

#[tokio::test]
async fn what_fails_tells_nobody() -> Result<()> {
    let world = World::new().await?;
    world.user.patch(&world.path(""), &json!({"name": "x"}), Some("\"9\"")).await?.expect(412)?;
    let batch = json!({"create": [{}], "delete": [sker_types::new_id()]});
    world.user.post(&world.path("/nodes:batch"), &batch).await?.expect(404)?;
    world.user.delete(&world.path("")).await?.expect(204)?;
    let events = world.heard(&format!("project:{}", world.project), "project.deleted", &world.project).await?;
    let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["project.created", "project.deleted"]);
    Ok(())
}
