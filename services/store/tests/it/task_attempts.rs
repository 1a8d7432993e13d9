//! Attempts that fail.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use sker_bus::{Message, topology};
use sker_testkit::{PATIENCE, eventually};

use super::support::{Broker, Wakes, World, lease_of};

/// Claims a task as soon as it may be claimed.
async fn claim_when_due(broker: &Broker, task: &str) -> Result<sker_api::proto::store::Task> {
    eventually("the task may be claimed", async || {
        let answer = broker.ask_for(task, 600_000).await?;
        Ok(answer.tasks.into_iter().next())
    })
    .await
}

async fn dead_letter(world: &World) -> Result<Message> {
    let mut dead = world.store.setup.bus.consume(topology::DEAD_LETTER_QUEUE, 8).await?;
    let letter = tokio::time::timeout(PATIENCE, dead.recv()).await.context("no dead letter came")?;
    let letter = letter.context("the queue is gone")?;
    let message = letter.message.clone();
    letter.ack().await?;
    Ok(message)
}

#[tokio::test]
async fn a_failed_attempt_is_repeated_after_a_while() -> Result<()> {
    let world = World::new().await?;
    let broker = world.broker("b");
    let mut wakes = Wakes::of(&*world.store.setup.bus, topology::PROCESS_QUEUE).await?;
    let task = world.queued_task(json!({})).await?;
    wakes.until(&task).await?;
    let first = broker.claim(&task).await?;
    broker.progress(&lease_of(&first), 50, "half way").await?;
    assert!(broker.fail(&lease_of(&first), true, 60_000).await?);
    let waiting = world.task_now(&task).await?;
    assert_eq!((&waiting["status"], &waiting["attempts"]), (&json!("queued"), &json!(1)));
    assert_eq!(waiting["error"]["code"], "engine_error");
    assert_eq!(broker.refusal(&task).await?, "later", "a provider that asks for a pause gets it");
    assert_eq!(broker.renew(&lease_of(&first)).await?.as_deref(), Some("taken"));
    assert!(broker.fail(&lease_of(&first), true, 60_000).await?, "saying so again is no second failure");
    assert_eq!(world.task_now(&task).await?["attempts"], 1);

    let again = world.queued_task(json!({})).await?;
    wakes.until(&again).await?;
    let first = broker.claim(&again).await?;
    assert!(broker.fail(&lease_of(&first), true, 0).await?);
    wakes.until(&again).await?;
    let second = claim_when_due(&broker, &again).await?;
    assert_eq!((second.attempts, second.progress), (2, 0));
    assert!(second.lease_epoch > first.lease_epoch);
    let output = json!({"tags": [], "engine": "test", "generative": false, "usage": {}});
    broker.complete(&lease_of(&second), &output).await?;
    let done = world.task_now(&again).await?;
    assert_eq!((&done["status"], &done["error"]), (&json!("completed"), &Value::Null));
    Ok(())
}

#[tokio::test]
async fn when_all_attempts_are_used_up_the_task_is_a_dead_letter() -> Result<()> {
    let world = World::new().await?;
    let broker = world.broker("b");
    let task = world.task(json!({"max_attempts": 3})).await?;
    for attempt in 1..=3 {
        let claimed = claim_when_due(&broker, &task).await?;
        assert_eq!(claimed.attempts, attempt);
        assert_eq!(broker.fail(&lease_of(&claimed), true, 0).await?, attempt < 3);
    }
    let failed = world.task_now(&task).await?;
    assert_eq!((&failed["status"], &failed["attempts"]), (&json!("failed"), &json!(3)));
    assert_eq!(failed["error"], json!({"code": "engine_error", "message": "the engine is away"}));
    assert!(failed["completed_at"].is_string());
    assert_eq!(broker.refusal(&task).await?, "gone");

    let letter = dead_letter(&world).await?;
    let body: Value = letter.parse()?;
    assert_eq!(body["id"], task);
    assert_eq!(body["error"]["code"], "engine_error");
    let events = world.heard(&format!("task:{task}"), "ai_task.failed", &task).await?;
    assert_eq!(events.last().context("an event")?.data["error"]["code"], "engine_error");
    Ok(())
}

#[tokio::test]
async fn what_cannot_succeed_is_not_tried_again() -> Result<()> {
    let world = World::new().await?;
    let broker = world.broker("b");
    let task = world.task(json!({"max_attempts": 10})).await?;
    let lease = lease_of(&broker.claim(&task).await?);
    for _ in 0..2 {
        assert!(!broker.fail(&lease, false, 0).await?);
    }
    assert_eq!(world.task_now(&task).await?["status"], "failed");
    let body: Value = dead_letter(&world).await?.parse()?;
    assert_eq!(body["id"], task);
    let depth = world.store.setup.bus.depth(topology::DEAD_LETTER_QUEUE).await;
    assert_eq!(depth, Some(0), "one task is one dead letter");
    Ok(())
}

#[tokio::test]
async fn a_failed_task_can_be_retried_with_all_its_attempts() -> Result<()> {
    let world = World::new().await?;
    let broker = world.broker("b");
    let mut wakes = Wakes::of(&*world.store.setup.bus, topology::PROCESS_QUEUE).await?;
    let task = world.queued_task(json!({"max_attempts": 2})).await?;
    wakes.until(&task).await?;
    let first = broker.claim(&task).await?;
    broker.fail(&lease_of(&first), false, 0).await?;

    let retry = format!("/api/v1/ai-tasks/{task}/retry");
    let retried = world.user.post(&retry, &json!({})).await?.expect(200)?;
    assert_eq!((&retried.body["id"], &retried.body["attempts"]), (&json!(task), &json!(0)));
    assert!(["pending", "queued"].contains(&retried.body["status"].as_str().unwrap_or_default()), "{}", retried.text);
    assert_eq!(retried.body["error"], Value::Null);
    wakes.until(&task).await?;
    world.until_status(&task, "queued").await?;
    world.user.post(&retry, &json!({})).await?.expect_problem(409, "conflict")?;

    let second = broker.claim(&task).await?;
    assert!(second.lease_epoch > first.lease_epoch, "the old epoch stays fenced off");
    assert_eq!(second.attempts, 1);
    world.user.post(&retry, &json!({})).await?.expect_problem(409, "conflict")?;
    broker.complete(&lease_of(&second), &json!({"tags": []})).await?;
    world.user.post(&retry, &json!({})).await?.expect_problem(409, "conflict")?;
    Ok(())
}
