//! Realtime: WebSocket and server-sent events, and resuming them.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sker_testkit::{EventStream, Socket};

use crate::world::{World, text};

/// The nodes whose creation frames tell of.
fn created(frames: &[Value]) -> Vec<String> {
    let created = frames.iter().filter(|frame| frame["type"] == "node.created");
    created
        .filter_map(|frame| frame["data"]["id"].as_str().or(frame["data"]["node_id"].as_str()))
        .map(str::to_owned)
        .collect()
}

fn last_seq(frames: &[Value]) -> Option<u64> {
    frames.iter().filter_map(|frame| frame["seq"].as_u64()).next_back()
}

fn is_about(node: &str) -> impl Fn(&Value) -> bool {
    move |frame| created(std::slice::from_ref(frame)) == [node]
}

#[tokio::test]
async fn a_socket_resumes_where_it_was_without_a_gap() -> Result<()> {
    let world = World::new().await?;
    let project = world.user.create_project("canvas").await?;
    let channel = format!("project:{project}");
    let mut made = Vec::new();

    let mut socket = Socket::connect(&world.user).await?;
    let mut heard = socket.subscribe(&channel, None).await?;
    for number in 0..5 {
        made.push(world.user.create_node(&project, &format!("{number}"), "while connected").await?);
    }
    heard.extend(socket.until(is_about(&made[4])).await?);
    drop(socket);
    for number in 5..12 {
        made.push(world.user.create_node(&project, &format!("{number}"), "while away").await?);
    }
    let mut socket = Socket::connect(&world.user).await?;
    heard.extend(socket.subscribe(&channel, last_seq(&heard)).await?);
    for number in 12..15 {
        made.push(world.user.create_node(&project, &format!("{number}"), "connected again").await?);
    }
    heard.extend(socket.until(is_about(&made[14])).await?);

    assert_eq!(created(&heard), made, "every node once, in order");
    let seqs: Vec<u64> = heard.iter().filter_map(|frame| frame["seq"].as_u64()).collect();
    assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]), "{seqs:?}");
    for event in heard.iter().filter(|frame| frame["type"] == "node.created") {
        assert_eq!(event["channel"], channel);
        assert!(event["id"].is_string() && event["time"].is_string() && event["data"].is_object(), "{event}");
    }
    Ok(())
}

#[tokio::test]
async fn a_task_is_followed_from_its_creation_to_its_result() -> Result<()> {
    let world = World::new().await?;
    let project = world.user.create_project("canvas").await?;
    let node = world.user.create_node(&project, "tides", crate::texts::ENGLISH).await?;
    let mut socket = Socket::connect(&world.user).await?;
    let mut frames = socket.subscribe(&format!("project:{project}"), None).await?;
    let task = world.user.analyse(&project, &node).await?;
    frames.extend(socket.until(|frame| frame["type"] == "ai_task.completed").await?);
    let kinds: Vec<&str> = frames
        .iter()
        .filter_map(|frame| frame["type"].as_str())
        .filter(|kind| kind.starts_with("ai_task.") && !matches!(*kind, "ai_task.progress" | "ai_task.chunk"))
        .collect();
    assert_eq!(kinds, ["ai_task.created", "ai_task.queued", "ai_task.started", "ai_task.completed"]);

    let done = world.user.completed(&task).await?;
    let output = &done["output_data"];
    assert_eq!((&output["engine"], &output["generative"]), (&json!("local"), &json!(false)), "{output}");
    assert_eq!(output["language"], "en");
    assert!(output["tags"].as_array().is_some_and(|tags| !tags.is_empty()), "{output}");
    assert_eq!(done["progress"], 100);
    Ok(())
}

#[tokio::test]
async fn a_task_can_be_submitted_over_the_socket() -> Result<()> {
    let world = World::new().await?;
    let project = world.user.create_project("canvas").await?;
    let mut socket = Socket::connect(&world.user).await?;
    let data =
        json!({"project_id": project, "type": "semantic_analysis", "input_data": {"inputs": ["The tide is high."]}});
    socket.send(&json!({"type": "ai_task.submit", "ref": "mine", "data": data})).await?;
    let frames = socket.until(|frame| frame["ref"] == "mine").await?;
    let accepted = frames.last().context("an answer")?;
    assert_eq!(accepted["type"], "ai_task.accepted", "{accepted}");
    world.user.completed(text(accepted, "id")?).await?;
    socket.send(&json!({"type": "ping"})).await?;
    socket.until(|frame| frame["type"] == "pong").await?;
    Ok(())
}

#[tokio::test]
async fn a_socket_can_sign_in_with_its_first_message_or_in_the_query() -> Result<()> {
    let world = World::new().await?;
    let project = world.user.create_project("canvas").await?;
    let token = world.user.token().context("signed in")?;
    let url = format!("ws://127.0.0.1:{}/ws", world.platform.ports().gateway);
    let mut socket = Socket::connect_to(&url).await?;
    socket.send(&json!({"type": "auth", "token": token})).await?;
    socket.until(|frame| frame["type"] == "authenticated").await?;
    socket.subscribe(&format!("project:{project}"), None).await?;
    let mut socket = Socket::connect_to(&format!("{url}?token={token}")).await?;
    socket.subscribe(&format!("project:{project}"), None).await?;
    assert!(!world.platform.program.stdout()?.contains(token), "no query string is logged");
    assert!(!world.platform.program.stderr()?.contains(token), "no query string is logged");
    Ok(())
}

#[tokio::test]
async fn the_same_events_come_as_server_sent_events_and_resume() -> Result<()> {
    let world = World::new().await?;
    let project = world.user.create_project("canvas").await?;
    let path = format!("/api/v1/events?channel=project:{project}");
    let mut made = Vec::new();
    let mut heard: Vec<Value> = Vec::new();
    let mut stream = EventStream::open(&world.user, &path, None).await?;
    let mut last_id = None;
    for round in 0..2 {
        for number in 0..4 {
            made.push(world.user.create_node(&project, &format!("{round}.{number}"), "content").await?);
        }
        let last = made.last().context("made above")?.clone();
        loop {
            let event = stream.next().await?;
            if let Some(id) = event["id"].as_str() {
                last_id = Some(id.to_owned());
            }
            let done = is_about(&last)(&event["data"]);
            heard.push(event["data"].clone());
            if done {
                break;
            }
        }
        drop(stream);
        made.push(world.user.create_node(&project, &format!("away {round}"), "content").await?);
        stream = EventStream::open(&world.user, &path, last_id.as_deref()).await?;
    }
    heard.push(stream.next().await?["data"].clone());
    assert_eq!(created(&heard), made, "every node once, in order");
    Ok(())
}
