//! Cancelling tasks, and changing them before they begin.

use anyhow::{Context as _, Result};
use serde_json::json;
use sker_bus::topology;
use sker_error::Code;
use sker_testkit::{Answer, PATIENCE};

use super::support::{Wakes, World, lease_of};

async fn cancel(world: &World, task: &str) -> Result<Answer> {
    world.user.post(&format!("/api/v1/ai-tasks/{task}/cancel"), &json!({})).await
}

#[tokio::test]
async fn a_task_is_cancelled_wherever_it_stands() -> Result<()> {
    let world = World::new().await?;
    let broker = world.broker("b");
    let pending = world.task(json!({"scheduled_at": "2999-01-01T00:00:00Z"})).await?;
    let queued = world.queued_task(json!({})).await?;
    let processing = world.queued_task(json!({})).await?;
    let lease = lease_of(&broker.claim(&processing).await?);
    for task in [&pending, &queued, &processing] {
        let cancelled = cancel(&world, task).await?.expect(200)?;
        assert_eq!((&cancelled.body["id"], &cancelled.body["status"]), (&json!(task), &json!("cancelled")));
        assert!(cancelled.body["completed_at"].is_string(), "{}", cancelled.text);
        assert_eq!(broker.refusal(task).await?, "gone");
        world.heard(&format!("task:{task}"), "ai_task.cancelled", task).await?;
        // Once more is no fault and no second event.
        assert_eq!(cancel(&world, task).await?.expect(200)?.body["status"], "cancelled");
    }
    assert_eq!(broker.renew(&lease).await?.as_deref(), Some("cancelled"));
    for refused in [
        broker.complete(&lease, &json!({"tags": []})).await.err(),
        broker.progress(&lease, 50, "").await.err(),
        broker.fail(&lease, true, 0).await.err(),
    ] {
        assert_eq!(refused.context("refused")?.code(), Code::Conflict);
    }
    let events = world.channel(&format!("task:{processing}")).await?;
    assert_eq!(events.iter().filter(|event| event.kind == "ai_task.cancelled").count(), 1);
    Ok(())
}

/// Every broker hears of it on the domain events, and aborts.
#[tokio::test]
async fn a_cancellation_is_published_for_the_brokers() -> Result<()> {
    let world = World::new().await?;
    let mut heard = world.store.setup.bus.declare_exclusive("test.", topology::EVENTS_TOPIC).await?;
    let task = world.task(json!({})).await?;
    cancel(&world, &task).await?.expect(200)?;
    let message = tokio::time::timeout(PATIENCE, async {
        while let Some(delivery) = heard.recv().await {
            if delivery.message.key == "ai_task.cancelled" {
                return Some(delivery.message.clone());
            }
        }
        None
    });
    let event: sker_types::DomainEvent = message.await?.context("the queue is gone")?.parse()?;
    assert_eq!((event.kind.as_str(), event.aggregate_id.to_string()), ("ai_task.cancelled", task));
    Ok(())
}

#[tokio::test]
async fn a_finished_task_cannot_be_cancelled() -> Result<()> {
    let world = World::new().await?;
    let broker = world.broker("b");
    let (completed, failed) = (world.task(json!({})).await?, world.task(json!({})).await?);
    broker.complete(&lease_of(&broker.claim(&completed).await?), &json!({"tags": []})).await?;
    broker.fail(&lease_of(&broker.claim(&failed).await?), false, 0).await?;
    for (task, status) in [(&completed, "completed"), (&failed, "failed")] {
        cancel(&world, task).await?.expect_problem(409, "conflict")?;
        assert_eq!(world.task_now(task).await?["status"], status);
    }
    Ok(())
}

#[tokio::test]
async fn a_cancelled_task_can_be_retried() -> Result<()> {
    let world = World::new().await?;
    let task = world.queued_task(json!({})).await?;
    cancel(&world, &task).await?.expect(200)?;
    world.user.post(&format!("/api/v1/ai-tasks/{task}/retry"), &json!({})).await?.expect(200)?;
    world.until_status(&task, "queued").await?;
    world.broker("b").claim(&task).await?;
    Ok(())
}

#[tokio::test]
async fn a_task_can_be_changed_until_it_begins() -> Result<()> {
    let world = World::new().await?;
    let mut urgent = Wakes::of(&*world.store.setup.bus, topology::PROCESS_QUEUE_URGENT).await?;
    let task = world.queued_task(json!({})).await?;
    let path = format!("/api/v1/ai-tasks/{task}");
    let changed =
        world.user.patch(&path, &json!({"priority": "urgent", "max_attempts": 7}), None).await?.expect(200)?;
    assert_eq!((&changed.body["priority"], &changed.body["max_attempts"]), (&json!("urgent"), &json!(7)));
    assert_eq!(urgent.next().await?.task_id.to_string(), task, "it is woken where it belongs now");
    let refused =
        world.user.patch(&path, &json!({"status": "completed", "priority": "now"}), None).await?.expect(400)?;
    let mut fields = refused.field_errors();
    fields.sort_unstable();
    assert_eq!(fields, ["priority", "status"]);

    let broker = world.broker("b");
    let lease = lease_of(&broker.claim(&task).await?);
    world.user.patch(&path, &json!({"priority": "low"}), None).await?.expect_problem(409, "conflict")?;
    world.user.delete(&path).await?.expect_problem(409, "conflict")?;
    broker.complete(&lease, &json!({"tags": []})).await?;
    world.user.delete(&path).await?.expect(204)?;
    world.user.get(&path).await?.expect_problem(404, "not_found")?;
    Ok(())
}
