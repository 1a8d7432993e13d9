//! What goes in at one replica comes out at the others.

use anyhow::{Context, Result};
use sker_testkit::{Outside, Plan, Socket};

use super::canvas::Canvas;

#[tokio::test]
async fn a_task_submitted_through_one_gateway_is_seen_live_by_a_client_of_the_other() -> Result<()> {
    let canvas = Canvas::new(Outside::shared(), Plan::default().gateways(2).brokers(2)).await?;
    let channel = format!("project:{}", canvas.project);
    for (here, there) in [(0, 1), (1, 0)] {
        let mut socket = Socket::connect(&canvas.at(there)?).await?;
        let mut frames = socket.subscribe(&channel, None).await?;
        let node = canvas.at(here)?.create_node(&canvas.project, "tides", crate::texts::ENGLISH).await?;
        let task = canvas.at(here)?.analyse(&canvas.project, &node).await?;
        frames.extend(socket.until(|frame| frame["type"] == "ai_task.completed").await?);
        let kinds: Vec<&str> = frames
            .iter()
            .filter(|frame| frame["data"]["id"] == *task)
            .filter_map(|frame| frame["type"].as_str())
            .filter(|kind| !matches!(*kind, "ai_task.progress" | "ai_task.chunk"))
            .collect();
        assert_eq!(kinds, ["ai_task.created", "ai_task.queued", "ai_task.started", "ai_task.completed"]);
        let done = canvas.at(there)?.completed(&task).await?;
        assert_eq!(done["output_data"]["language"], "en", "the other gateway answers with the result");
    }
    Ok(())
}

#[tokio::test]
async fn two_stores_that_start_at_once_on_an_empty_database_are_one_store() -> Result<()> {
    let canvas = Canvas::new(Outside::shared(), Plan::default().stores(2)).await?;
    let token = canvas.user.token().context("signed in")?;
    // Each of them on its own port, so that it is known who answers.
    for (here, there) in [(0, 1), (1, 0)] {
        let [here, there] = [here, there].map(|number| canvas.platform.stores[number].api());
        let (here, there) = (here?.with_token(token), there?.with_token(token));
        let project = here.create_project("made here").await?;
        let node = there.create_node(&project, "made there", "The tide is high.").await?;
        let task = here.analyse(&project, &node).await?;
        there.completed(&task).await?;
        assert_eq!(here.get(&format!("/api/v1/nodes/{node}")).await?.expect(200)?.body["version"], 2);
    }
    // Made by whichever was first, once.
    let admin = canvas.platform.admin().await?;
    assert_eq!(admin.get("/api/v1/auth/me").await?.expect(200)?.body["role"], "admin");
    Ok(())
}
