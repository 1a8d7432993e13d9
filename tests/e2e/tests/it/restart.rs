//! Nothing accepted is lost, and nothing takes effect twice, however the platform ends.

use std::{
    collections::{HashMap, HashSet},
    os::unix::fs::PermissionsExt,
};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sker_testkit::{Api, PATIENCE, Signal, Socket, eventually};

use crate::{
    texts::long_node,
    world::{World, rows, text},
};

async fn versions(api: &Api, node: &str) -> Result<usize> {
    let page = api.get(&format!("/api/v1/nodes/{node}/versions?limit=200")).await?.expect(200)?;
    Ok(rows(&page.body)?.len())
}

/// Notes the ids of events of completion by task.
fn note_completions(frames: &[Value], seen: &mut HashMap<String, HashSet<String>>) -> Result<()> {
    for frame in frames.iter().filter(|frame| frame["type"] == "ai_task.completed") {
        let data = &frame["data"];
        let task = data["id"].as_str().or(data["task_id"].as_str()).context("the task's id")?;
        seen.entry(task.to_owned()).or_default().insert(text(frame, "id")?.to_owned());
    }
    Ok(())
}

#[tokio::test]
async fn tasks_survive_kill_9_and_take_effect_once() -> Result<()> {
    const MOMENTS: [Option<&str>; 3] = [Some("ai_task.completed"), None, Some("ai_task.started")];
    const TASKS: usize = 6;
    let mut world = World::new().await?;
    let project = world.user.create_project("canvas").await?;
    let channel = format!("project:{project}");
    let mut tasks: Vec<(String, String, usize)> = Vec::new();
    let mut completions: HashMap<String, HashSet<String>> = HashMap::new();
    for (round, moment) in MOMENTS.into_iter().enumerate() {
        let mut nodes = Vec::new();
        for number in 0..TASKS {
            let content = long_node(round * TASKS + number);
            nodes.push(world.user.create_node(&project, &format!("node {round}.{number}"), &content).await?);
        }
        let mut socket = Socket::connect(&world.user).await?;
        socket.subscribe(&channel, None).await?;
        for node in nodes {
            let before = versions(&world.user, &node).await?;
            tasks.push((world.user.analyse(&project, &node).await?, node, before));
        }
        // Some may be done when it is killed, some are at work, some have not begun; or all have just been accepted.
        if let Some(moment) = moment {
            let frames = socket.until(|frame| frame["type"] == moment).await?;
            note_completions(&frames, &mut completions)?;
        }
        world.platform.program.kill().await?;
        while let Ok(frame) = socket.next().await {
            note_completions(&[frame], &mut completions)?;
        }
        // Killed once more while it takes up what was left.
        world = world.restart().await?;
        world.platform.program.kill().await?;
        world = world.restart().await?;
    }

    let mut socket = Socket::connect(&world.user).await?;
    note_completions(&socket.subscribe(&channel, Some(0)).await?, &mut completions)?;
    for (task, node, before) in &tasks {
        world.user.completed(task).await?;
        assert_eq!(versions(&world.user, node).await?, before + 1, "task {task} changed its node once");
    }
    let last = world.user.create_node(&project, "the end", "").await?;
    let is_last = |frame: &Value| frame["type"] == "node.created" && frame["data"].to_string().contains(&last);
    note_completions(&socket.until(is_last).await?, &mut completions)?;
    for (task, events) in completions {
        assert_eq!(events.len(), 1, "task {task} was completed once");
    }
    Ok(())
}

#[tokio::test]
async fn ctrl_c_under_load_ends_cleanly_and_loses_nothing() -> Result<()> {
    let mut world = World::new().await?;
    let project = world.user.create_project("canvas").await?;
    let submit = |api: Api, project: String| async move {
        let mut accepted = Vec::new();
        let path = format!("/api/v1/projects/{project}/ai-tasks");
        for number in 0.. {
            let inputs = json!({"inputs": [format!("The tide of day {number} was higher than expected.")]});
            match api.post(&path, &json!({"type": "semantic_analysis", "input_data": inputs})).await {
                Ok(answer) if answer.status.as_u16() == 201 => accepted.push(answer.string("id")?),
                // Draining, then gone: the client was told that it is not accepted.
                _ => break,
            }
        }
        Ok::<_, anyhow::Error>(accepted)
    };
    let clients: Vec<_> = (0..4).map(|_| tokio::spawn(submit(world.user.clone(), project.clone()))).collect();
    // Enough that it is under way.
    let mut socket = Socket::connect(&world.user).await?;
    socket.subscribe(&format!("project:{project}"), None).await?;
    for _ in 0..10 {
        socket.until(|frame| frame["type"] == "ai_task.completed").await?;
    }
    assert_eq!(world.platform.interrupt().await?, Some(0), "{}", world.platform.program.output());
    let mut accepted = Vec::new();
    for client in clients {
        accepted.extend(client.await??);
    }
    assert!(accepted.len() >= 10, "{}", accepted.len());
    assert!(!world.platform.program.stderr()?.contains("panicked"));

    world = world.restart().await?;
    for task in &accepted {
        world.user.completed(task).await?;
    }
    Ok(())
}

#[tokio::test]
async fn sigterm_ends_cleanly_too() -> Result<()> {
    let mut world = World::new().await?;
    world.platform.program.signal(Signal::SIGTERM)?;
    assert_eq!(world.platform.program.wait(PATIENCE).await?, Some(0), "{}", world.platform.program.output());
    Ok(())
}

#[tokio::test]
async fn data_survive_a_restart() -> Result<()> {
    let mut world = World::new().await?;
    let project = world.user.create_project("画布").await?;
    let node = world.user.create_node(&project, "tides", "The tide is high.").await?;
    let task = world.user.analyse(&project, &node).await?;
    let task_before = world.user.completed(&task).await?;
    let before = world.user.get(&format!("/api/v1/nodes/{node}")).await?.expect(200)?;
    assert_eq!(world.platform.interrupt().await?, Some(0), "{}", world.platform.program.output());

    let world = world.restart().await?;
    let after = world.user.get(&format!("/api/v1/nodes/{node}")).await?.expect(200)?;
    assert_eq!((&after.body, after.header("etag")), (&before.body, before.header("etag")));
    assert_eq!(world.user.completed(&task).await?, task_before);
    Ok(())
}

#[tokio::test]
async fn the_administrators_password_is_printed_once() -> Result<()> {
    let mut world = World::new().await?;
    let file = world.platform.data_dir().join("admin-password");
    let password = std::fs::read_to_string(&file)?.trim().to_owned();
    assert!(password.len() >= 12, "hard to guess");
    assert_eq!(std::fs::metadata(&file)?.permissions().mode() & 0o777, 0o600);
    let first = eventually("the end of the announcement", async || {
        let printed = world.platform.program.stdout()?;
        Ok(printed.contains("Ctrl-C").then_some(printed))
    })
    .await?;
    assert_eq!(first.matches(&password).count(), 1, "{first}");
    assert!(first.contains(&format!(":{}", world.platform.ports().gateway)), "the address is printed: {first}");
    let me = world.admin().await?.get("/api/v1/auth/me").await?.expect(200)?;
    assert_eq!(me.body["role"], "admin", "{}", me.text);
    assert_eq!(world.platform.interrupt().await?, Some(0));

    let world = world.restart().await?;
    assert!(!world.platform.program.stdout()?.contains(&password));
    assert!(!world.platform.program.stderr()?.contains(&password));
    world.admin().await?;
    Ok(())
}
