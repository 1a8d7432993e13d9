//! From a claim to a result, and what the result does to the task's node.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use sker_error::Code;

use super::support::{Broker, World, lease_of};

fn generated(text: &str) -> Value {
    json!({
        "text": text, "title": "A better title", "sources": [],
        "engine": "test", "generative": true, "usage": {"prompt_tokens": 30},
    })
}

#[tokio::test]
async fn a_task_shows_where_it_stands() -> Result<()> {
    let world = World::new().await?;
    let broker = world.broker("b");
    let task = world.queued_task(json!({"type": "content_generation"})).await?;
    assert!(world.task_now(&task).await?["queued_at"].is_string());
    let claimed = broker.claim(&task).await?;
    assert_eq!((claimed.status.as_str(), claimed.attempts, claimed.lease_epoch), ("processing", 1, 1));
    assert_eq!(claimed.r#type, "content_generation");
    let input: Value = serde_json::from_str(&claimed.input_json)?;
    assert_eq!(input, json!({"inputs": ["One sentence."]}));

    let lease = lease_of(&claimed);
    broker.progress(&lease, 40, "reading").await?;
    let now = world.task_now(&task).await?;
    assert_eq!((&now["status"], &now["progress"], &now["attempts"]), (&json!("processing"), &json!(40), &json!(1)));
    assert!(now["started_at"].is_string());
    broker.progress(&lease, 20, "").await?;
    assert_eq!(world.task_now(&task).await?["progress"], 40, "progress never goes back");
    broker.progress(&lease, 400, "").await.ok();
    assert!(world.task_now(&task).await?["progress"].as_i64().is_some_and(|progress| progress <= 100));

    let output = generated("The result.");
    assert!(!broker.complete(&lease, &output).await?);
    let done = world.task_now(&task).await?;
    assert_eq!((&done["status"], &done["progress"]), (&json!("completed"), &json!(100)));
    assert_eq!((&done["output_data"], &done["error"]), (&output, &Value::Null));
    assert_eq!((&done["prompt_tokens"], &done["completion_tokens"]), (&json!(30), &json!(12)));
    assert_eq!(done["estimated_cost"], json!(0.25));
    assert_eq!(done["total_tokens"], json!(42));
    assert!(done["completed_at"].is_string() && done["duration_ms"].is_number());
    let events = world.heard(&format!("task:{task}"), "ai_task.completed", &task).await?;
    let progress = events.iter().filter(|event| event.kind == "ai_task.progress");
    assert_eq!(progress.map(|event| &event.data["progress"]).collect::<Vec<_>>(), [40, 100]);
    Ok(())
}

#[tokio::test]
async fn a_result_is_applied_to_its_node_once_as_a_new_version() -> Result<()> {
    let world = World::new().await?;
    let broker = world.broker("b");
    let node = world.node("one").await?;
    let task = world.task(json!({"type": "content_optimization", "node_id": node})).await?;
    let lease = lease_of(&broker.claim(&task).await?);
    assert!(!broker.complete(&lease, &generated("A better text.")).await?);
    let after_first = world.node_now(&node).await?;
    assert_eq!((&after_first["content"], &after_first["version"]), (&json!("A better text."), &json!(2)));

    // An answer that was lost on the way: the broker says it again, or says something else.
    assert!(broker.complete(&lease, &generated("A better text.")).await?);
    assert!(broker.complete(&lease, &generated("Another text.")).await?);
    assert_eq!(world.node_now(&node).await?, after_first);
    assert_eq!(world.task_now(&task).await?["output_data"]["text"], "A better text.");
    let versions = world.versions(&node).await?;
    assert_eq!(versions.len(), 2);
    assert_eq!((&versions[0]["content"], &versions[0]["task_id"]), (&json!("the content of one"), &Value::Null));
    assert_eq!((&versions[1]["content"], &versions[1]["task_id"]), (&json!("A better text."), &json!(task)));
    let completed = world.heard(&format!("task:{task}"), "ai_task.completed", &task).await?;
    assert_eq!(completed.iter().filter(|event| event.kind == "ai_task.completed").count(), 1);
    Ok(())
}

#[tokio::test]
async fn each_type_of_result_changes_its_own_part_of_a_node() -> Result<()> {
    let world = World::new().await?;
    let broker = world.broker("b");
    let about = json!({"engine": "test", "generative": false, "usage": {}});
    let output = |members: Value| {
        let mut output = about.clone();
        for (name, value) in members.as_object().into_iter().flatten() {
            output[name] = value.clone();
        }
        output
    };
    let analysis = output(json!({
        "tags": ["moon", "sea"], "semantic_types": ["fact"], "language": "en", "confidence": 0.9,
    }));
    let enhancement = output(json!({"title": "Tides", "tags": ["sea"], "summary": "They rise and fall."}));
    for (kind, output) in [
        ("content_generation", generated("made")),
        ("content_fusion", generated("fused")),
        ("semantic_analysis", analysis),
        ("node_enhancement", enhancement),
    ] {
        let body = json!({"title": "before", "content": "original", "tags": ["mine"], "metadata": {"own": 1}});
        let node = world.user.post(&world.path("/nodes"), &body).await?.expect(201)?.string("id")?;
        let task = world.task(json!({"type": kind, "node_id": node})).await?;
        broker.complete(&lease_of(&broker.claim(&task).await?), &output).await.context(kind)?;
        let after = world.node_now(&node).await?;
        assert_eq!(after["version"], 2, "{kind}");
        assert_eq!(after["metadata"]["own"], 1, "{kind}: what was there stays");
        let tags: Vec<&str> = after["tags"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        assert!(tags.contains(&"mine"), "{kind}: {tags:?}");
        match kind {
            "semantic_analysis" => {
                assert_eq!(tags, ["mine", "moon", "sea"]);
                assert_eq!(after["metadata"]["semantic_types"], json!(["fact"]));
                assert_eq!(after["content"], "original");
            }
            "node_enhancement" => {
                assert_eq!(after["title"], "Tides");
                assert!(tags.contains(&"sea"));
                assert_eq!(after["content"], "original");
            }
            _ => {
                assert_eq!(after["content"], output["text"], "{kind}");
                assert_eq!(after["ai_generated"], true, "{kind}");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_result_for_a_node_that_is_gone_still_completes() -> Result<()> {
    let world = World::new().await?;
    let broker = world.broker("b");
    let node = world.node("one").await?;
    let task = world.task(json!({"type": "content_generation", "node_id": node})).await?;
    let lease = lease_of(&broker.claim(&task).await?);
    world.user.delete(&format!("/api/v1/nodes/{node}")).await?.expect(204)?;
    broker.complete(&lease, &generated("too late")).await?;
    assert_eq!(world.task_now(&task).await?["status"], "completed");
    world.user.get(&format!("/api/v1/nodes/{node}")).await?.expect_problem(404, "not_found")?;
    Ok(())
}

#[tokio::test]
async fn a_result_that_is_no_object_is_refused_and_the_claim_stays() -> Result<()> {
    let world = World::new().await?;
    let broker = world.broker("b");
    let task = world.task(json!({})).await?;
    let lease = lease_of(&broker.claim(&task).await?);
    for output in [json!([]), json!("text"), Value::Null] {
        let refused = broker.complete(&lease, &output).await.err().context("refused")?;
        assert_eq!(refused.code().http_status(), 400, "{refused:?}");
    }
    assert_eq!(world.task_now(&task).await?["status"], "processing");
    assert_eq!(broker.renew(&lease).await?, None);
    Ok(())
}

#[tokio::test]
async fn a_stale_epoch_changes_nothing() -> Result<()> {
    let world = World::new().await?;
    let (old, new) = (world.broker("old"), world.broker("new"));
    let node = world.node("one").await?;
    let task = world.task(json!({"type": "content_generation", "node_id": node})).await?;
    let stale = lease_of(&old.claim(&task).await?);
    assert_eq!(old.release_all().await?, 1);
    let claimed = new.claim(&task).await?;
    assert!(claimed.lease_epoch > stale.lease_epoch);
    assert_eq!(claimed.attempts, 1, "an attempt that was given back does not count");
    let before = world.task_now(&task).await?;

    for refused in [
        old.progress(&stale, 90, "").await.err(),
        old.complete(&stale, &generated("stale")).await.err(),
        old.fail(&stale, true, 0).await.err(),
        old.fail(&stale, false, 0).await.err(),
    ] {
        assert_eq!(refused.context("refused")?.code(), Code::Conflict);
    }
    assert_eq!(old.renew(&stale).await?.as_deref(), Some("taken"));
    assert_eq!(old.release_all().await?, 0);
    assert_eq!(world.task_now(&task).await?, before);
    assert_eq!(world.node_now(&node).await?["content"], "the content of one");

    new.complete(&lease_of(&claimed), &generated("fresh")).await?;
    let refused = old.complete(&stale, &generated("stale")).await.err().context("refused")?;
    assert_eq!(refused.code(), Code::Conflict, "done, but not by this epoch");
    assert_eq!(world.node_now(&node).await?["content"], "fresh");
    Ok(())
}

#[tokio::test]
async fn of_many_brokers_one_gets_a_task() -> Result<()> {
    let world = World::new().await?;
    let task = world.task(json!({})).await?;
    let attempts = (0..8).map(|number| {
        let (broker, task) = (world.broker(&format!("b{number}")), task.clone());
        async move { broker.ask_for(&task, 60_000).await }
    });
    let answers = futures::future::try_join_all(attempts).await?;
    assert_eq!(answers.iter().filter(|answer| answer.tasks.len() == 1).count(), 1);
    for refused in answers.iter().filter(|answer| answer.tasks.is_empty()) {
        assert_eq!(refused.unclaimed[0].reason, "held");
    }
    Ok(())
}

#[tokio::test]
async fn of_completing_twice_at_once_one_has_an_effect() -> Result<()> {
    let world = World::new().await?;
    let node = world.node("one").await?;
    let task = world.task(json!({"type": "content_generation", "node_id": node})).await?;
    let (local, remote) = (world.broker("b"), Broker::new(Arc::new(world.store.client()?), "b"));
    let lease = lease_of(&local.claim(&task).await?);
    let output = generated("new text");
    let (one, two) =
        futures::future::try_join(local.complete(&lease, &output), remote.complete(&lease, &output)).await?;
    assert!(one != two, "one of them is the repetition");
    assert_eq!(world.node_now(&node).await?["version"], 2);
    Ok(())
}

#[tokio::test]
async fn of_cancelling_and_completing_at_once_exactly_one_wins() -> Result<()> {
    let world = World::new().await?;
    let broker = world.broker("b");
    let (nothing, output) = (json!({}), generated("text"));
    for _ in 0..8 {
        let task = world.task(json!({})).await?;
        let lease = lease_of(&broker.claim(&task).await?);
        let path = format!("/api/v1/ai-tasks/{task}/cancel");
        let (cancelled, completed) =
            futures::future::join(world.user.post(&path, &nothing), broker.complete(&lease, &output)).await;
        let (cancelled, completed) = (cancelled?.status == 200, completed.is_ok());
        assert!(cancelled != completed, "cancelled: {cancelled}, completed: {completed}");
        let ended = if cancelled { "cancelled" } else { "completed" };
        assert_eq!(world.task_now(&task).await?["status"], ended);
    }
    Ok(())
}
