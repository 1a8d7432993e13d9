//! A broker that is killed in the middle of its tasks.

use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};
use sker_testkit::{Outside, Plan, eventually};

use super::{
    canvas::{Accepted, Canvas, ended, submit},
    engine::Engine,
};

const TASKS: usize = 6;

#[tokio::test]
async fn tasks_of_a_broker_that_is_killed_are_finished_by_another_once() -> Result<()> {
    let engine = Engine::start().await?;
    let plan = Plan::default()
        .brokers(2)
        .with("broker", "worker.lease_ms", "2000")
        .with("broker", "engines.default", "openai")
        .with("broker", "engines.openai.base_url", &engine.url)
        .with("broker", "engines.openai.model", "small");
    let mut canvas = Canvas::new(Outside::shared(), plan).await?;
    // So that it is known whose the tasks are.
    canvas.platform.brokers[1].stop().await?;
    let mut accepted = Vec::new();
    for _ in 0..TASKS {
        let body = json!({"type": "content_generation"});
        accepted.push(submit(&canvas.user, &canvas.project, &body).await?);
    }
    eventually("every task is in the middle", async || Ok((engine.calls()? == TASKS).then_some(()))).await?;
    canvas.platform.brokers[1].restart().await?;

    let killed = Instant::now();
    canvas.platform.brokers[0].kill().await?;
    eventually(
        "the other broker has begun every task again",
        async || Ok((engine.calls()? == 2 * TASKS).then_some(())),
    )
    .await?;
    eprintln!("recovery: broker killed: all tasks were begun again {} ms later", killed.elapsed().as_millis());
    for Accepted { task, .. } in &accepted {
        let is_begun_again = |frame: &Value| frame["type"] == "ai_task.restarted" && frame["data"]["id"] == **task;
        canvas.follower.until("its restart is told", is_begun_again).await?;
    }
    // The one that was killed comes back too, and takes nothing from the other.
    canvas.platform.brokers[0].restart().await?;
    engine.open();
    for accepted in &accepted {
        let done = ended(&canvas.user, &accepted.task).await?;
        assert_eq!(done["attempts"], 1, "losing a broker costs no attempt: {done}");
    }
    canvas.verify(&accepted).await?;
    assert_eq!(engine.calls()?, 2 * TASKS, "no task was begun a third time");
    Ok(())
}
