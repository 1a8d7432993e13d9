//! Leases that run out, sessions that are over, tasks that take too long.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::json;
use sker_bus::topology;
use sker_error::Code;
use sker_testkit::eventually;

use super::support::{Setup, Wakes, World, lease_of};

#[tokio::test]
async fn a_task_whose_broker_is_silent_is_taken_back() -> Result<()> {
    let world = World::new().await?;
    let (silent, next) = (world.broker("silent"), world.broker("next"));
    let mut wakes = Wakes::of(&*world.store.setup.bus, topology::PROCESS_QUEUE).await?;
    let task = world.queued_task(json!({})).await?;
    wakes.until(&task).await?;
    let lost = lease_of(&silent.claim_for(&task, 300).await?);
    // Nothing but the silence gives it back.
    wakes.until(&task).await?;
    let claimed = next.claim(&task).await?;
    assert!(claimed.lease_epoch > lost.lease_epoch);
    assert_eq!(claimed.attempts, 1, "being lost is not the task's failure");
    assert_eq!(silent.renew(&lost).await?.as_deref(), Some("taken"));
    let refused = silent.complete(&lost, &json!({"tags": []})).await.err().context("refused")?;
    assert_eq!(refused.code(), Code::Conflict);
    next.complete(&lease_of(&claimed), &json!({"tags": []})).await?;
    let events = world.heard(&format!("task:{task}"), "ai_task.completed", &task).await?;
    let kinds: Vec<&str> = events.iter().map(|event| event.kind.as_str()).collect();
    assert!(kinds.contains(&"ai_task.restarted"), "whoever watches is told that it began anew: {kinds:?}");
    Ok(())
}

#[tokio::test]
async fn a_lease_that_is_renewed_outlives_its_length() -> Result<()> {
    const LEASE: Duration = Duration::from_millis(1_000);
    let world = World::new().await?;
    let broker = world.broker("b");
    for _ in 0..50 {
        let task = world.task(json!({})).await?;
        let mut renewed = Instant::now();
        let lease = lease_of(&broker.claim_for(&task, 1_000).await?);
        let (began, mut longest) = (Instant::now(), Duration::ZERO);
        let mut lost = None;
        while lost.is_none() && began.elapsed() < LEASE * 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let asked = Instant::now();
            lost = broker.renew(&lease).await?;
            longest = longest.max(renewed.elapsed());
            renewed = asked;
        }
        let Some(reason) = lost else {
            assert!(!broker.complete(&lease, &json!({"tags": []})).await?);
            return Ok(());
        };
        // A machine that stood still for most of a lease proves nothing; anything else is a fault.
        assert!(longest > LEASE / 2, "{reason} although it was renewed every {longest:?}");
    }
    anyhow::bail!("the machine stands still all the time")
}

#[tokio::test]
async fn a_task_that_loses_every_broker_is_given_up() -> Result<()> {
    let world = World::of(Setup::new().await?.with("tasks.lost_leases", "2")).await?;
    let task = world.task(json!({})).await?;
    for attempt in 0..2 {
        let broker = world.broker(&format!("b{attempt}"));
        eventually("the task may be claimed", async || Ok(broker.ask_for(&task, 100).await?.tasks.into_iter().next()))
            .await?;
    }
    let failed = world.until_status(&task, "failed").await?;
    assert!(failed["error"]["code"].is_string(), "{failed}");
    let mut dead = world.store.setup.bus.consume(topology::DEAD_LETTER_QUEUE, 1).await?;
    let letter = tokio::time::timeout(sker_testkit::PATIENCE, dead.recv()).await?.context("a dead letter")?;
    assert_eq!(letter.message.parse::<serde_json::Value>()?["id"], task);
    Ok(())
}

#[tokio::test]
async fn a_session_that_is_over_gives_back_what_it_held_and_no_more() -> Result<()> {
    let world = World::new().await?;
    let (dead, alive) = (world.broker("dead"), world.broker("alive"));
    let mut wakes = Wakes::of(&*world.store.setup.bus, topology::PROCESS_QUEUE).await?;
    let mut held = Vec::new();
    for _ in 0..3 {
        let task = world.queued_task(json!({})).await?;
        wakes.until(&task).await?;
        dead.claim(&task).await?;
        held.push(task);
    }
    let other = world.queued_task(json!({})).await?;
    wakes.until(&other).await?;
    let lease = lease_of(&alive.claim(&other).await?);

    assert_eq!(dead.release_all().await?, 3);
    assert_eq!(dead.release_all().await?, 0, "repeating it does nothing");
    let mut woken = Vec::new();
    for _ in 0..3 {
        woken.push(wakes.next().await?.task_id.to_string());
    }
    woken.sort();
    held.sort();
    assert_eq!(woken, held, "others hear of them at once");
    for task in &held {
        assert_eq!(alive.claim(task).await?.attempts, 1);
    }
    assert_eq!(alive.renew(&lease).await?, None);
    Ok(())
}

#[tokio::test]
async fn a_task_that_takes_too_long_has_failed() -> Result<()> {
    let world = World::new().await?;
    let broker = world.broker("b");
    let task = world.task(json!({"timeout_ms": 300, "max_attempts": 5})).await?;
    let lease = lease_of(&broker.claim(&task).await?);
    let failed = eventually("the task has failed", async || {
        // Renewing does not help.
        broker.renew(&lease).await?;
        let now = world.task_now(&task).await?;
        Ok((now["status"] != "processing").then_some(now))
    })
    .await?;
    assert_eq!((&failed["status"], &failed["error"]["code"]), (&json!("failed"), &json!("timeout")));
    assert_eq!(broker.renew(&lease).await?.as_deref(), Some("timeout"));
    let refused = broker.complete(&lease, &json!({"tags": []})).await.err().context("refused")?;
    assert_eq!(refused.code(), Code::Conflict);
    let events = world.heard(&format!("project:{}", world.project), "ai_task.failed", &task).await?;
    assert_eq!(events.last().context("an event")?.data["error"]["code"], "timeout");
    Ok(())
}

#[tokio::test]
async fn a_lease_has_its_limits() -> Result<()> {
    let world = World::new().await?;
    let task = world.task(json!({})).await?;
    for lease_ms in [0, u64::MAX] {
        let refused = world.broker("b").ask_for(&task, lease_ms).await.err().context("refused")?;
        assert_eq!(refused.code(), Code::ValidationFailed);
    }
    let refused = world.broker("").ask_for(&task, 60_000).await.err().context("refused")?;
    assert_eq!(refused.fields()[0].field, "session_id");
    Ok(())
}

#[tokio::test]
async fn a_task_whose_every_session_ends_is_given_up() -> Result<()> {
    let world = World::of(Setup::new().await?.with("tasks.lost_leases", "3")).await?;
    let task = world.task(json!({})).await?;
    for round in 0..3 {
        let broker = world.broker(&format!("b{round}"));
        broker.claim(&task).await?;
        assert_eq!(broker.release_all().await?, 1);
    }
    assert_eq!(world.until_status(&task, "failed").await?["error"]["code"], "broker_lost");
    Ok(())
}

#[tokio::test]
async fn what_is_given_back_costs_nothing_however_often() -> Result<()> {
    let world = World::of(Setup::new().await?.with("tasks.lost_leases", "2")).await?;
    let task = world.task(json!({"max_attempts": 1})).await?;
    let broker = world.broker("b");
    for _ in 0..4 {
        let lease = lease_of(&broker.claim(&task).await?);
        assert_eq!(broker.release(&lease).await?, 1);
        assert_eq!(broker.release(&lease).await?, 0, "repeating it does nothing");
    }
    assert_eq!(world.until_status(&task, "queued").await?["attempts"], 0);
    Ok(())
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_answered_again() -> Result<()> {
    let world = World::new().await?;
    let broker = world.broker("b");
    let task = world.queued_task(json!({})).await?;
    let first = broker.claim(&task).await?;
    broker.progress(&lease_of(&first), 40, "reading").await?;
    let again = broker.claim(&task).await?;
    assert_eq!((again.lease_epoch, again.attempts), (first.lease_epoch, first.attempts), "it is the same claim");
    assert_eq!(again.input_json, first.input_json, "with all that is needed to run it");
    assert_eq!(world.broker("other").refusal(&task).await?, "held", "it is nobody else's");

    // What is asked for together with it is claimed as ever.
    let (free, ended) = (world.queued_task(json!({})).await?, world.queued_task(json!({})).await?);
    broker.complete(&lease_of(&broker.claim(&ended).await?), &json!({"tags": []})).await?;
    let answer = broker.ask_for_all(&[&task, &free, &ended]).await?;
    let mut got: Vec<(String, u64)> = answer.tasks.iter().map(|task| (task.id.clone(), task.lease_epoch)).collect();
    got.sort();
    let mut expected = vec![(task.clone(), 1), (free, 1)];
    expected.sort();
    assert_eq!(got, expected);
    assert_eq!((answer.unclaimed.len(), answer.unclaimed[0].id == ended), (1, true));

    broker.complete(&lease_of(&again), &json!({"tags": []})).await?;
    let events = world.heard(&format!("task:{task}"), "ai_task.completed", &task).await?;
    let begun = events.iter().filter(|event| ["ai_task.started", "ai_task.restarted"].contains(&event.kind.as_str()));
    assert_eq!(begun.count(), 1, "who watches hears of one beginning");
    Ok(())
}

#[tokio::test]
async fn a_claim_that_is_asked_for_again_begins_its_lease_anew() -> Result<()> {
    const LEASE: Duration = Duration::from_millis(1_000);
    let world = World::new().await?;
    let broker = world.broker("b");
    for _ in 0..50 {
        let task = world.task(json!({})).await?;
        let mut asked = Instant::now();
        let first = broker.claim_for(&task, 1_000).await?.lease_epoch;
        let (began, mut longest, mut epoch) = (Instant::now(), Duration::ZERO, first);
        while epoch == first && began.elapsed() < LEASE * 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let again = Instant::now();
            epoch = broker.claim_for(&task, 1_000).await?.lease_epoch;
            longest = longest.max(asked.elapsed());
            asked = again;
        }
        if epoch == first {
            return Ok(());
        }
        // A machine that stood still for most of a lease proves nothing; anything else is a fault.
        assert!(longest > LEASE / 2, "taken back although it was asked for every {longest:?}");
    }
    anyhow::bail!("the machine stands still all the time")
}

#[tokio::test]
async fn a_claim_of_more_tasks_than_anybody_runs_is_refused() -> Result<()> {
    let world = World::new().await?;
    let ids: Vec<String> = (0..201).map(|_| sker_types::new_id().to_string()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let broker = world.broker("b");
    assert_eq!(broker.ask_for_all(&ids[..200]).await?.unclaimed.len(), 200);
    let refused = broker.ask_for_all(&ids).await.err().context("refused")?;
    assert_eq!((refused.code(), refused.fields()[0].field.as_str()), (Code::ValidationFailed, "ids"));
    Ok(())
}
