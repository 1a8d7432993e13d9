//! Asking for a task.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use sker_bus::topology;
use sker_testkit::Answer;

use super::support::{Wakes, World, ids};

const KINDS: [&str; 6] = [
    "content_generation",
    "content_optimization",
    "semantic_analysis",
    "content_fusion",
    "batch_processing",
    "node_enhancement",
];

async fn create(world: &World, body: &Value) -> Result<Answer> {
    world.user.post(&world.path("/ai-tasks"), body).await
}

#[tokio::test]
async fn a_task_of_every_type_is_made() -> Result<()> {
    let world = World::new().await?;
    let node = world.node("one").await?;
    for kind in KINDS {
        let body = json!({
            "type": kind,
            "node_id": node,
            "priority": "high",
            "max_attempts": 5,
            "timeout_ms": 30_000,
            "input_data": {
                "node_ids": [node], "inputs": ["文本"], "context": "c", "instruction": "i", "model": "m",
                "engine": "local", "anything": {"else": [1]},
            },
        });
        let made = create(&world, &body).await?.expect(201).context(kind)?;
        assert_eq!(made.header("location"), Some(format!("/api/v1/ai-tasks/{}", made.string("id")?).as_str()));
        assert!(made.header("etag").is_some());
        for (member, value) in body.as_object().context("an object")? {
            assert_eq!(&made.body[member], value, "{kind}: {member}");
        }
        assert_eq!(made.body["status"], "pending");
        assert_eq!((&made.body["progress"], &made.body["attempts"]), (&json!(0), &json!(0)));
        assert_eq!((&made.body["output_data"], &made.body["error"]), (&Value::Null, &Value::Null));
        let queued = world.until_status(&made.string("id")?, "queued").await?;
        assert_eq!(queued["input_data"], body["input_data"]);
    }
    Ok(())
}

#[tokio::test]
async fn every_fault_is_named_at_once_and_nothing_is_made() -> Result<()> {
    let world = World::new().await?;
    let body = json!({
        "type": "guessing",
        "priority": "now",
        "max_attempts": 0,
        "timeout_ms": -1,
        "scheduled_at": "tomorrow",
        "node_id": "seven",
        "status": "completed",
        "input_data": {},
        "colour": "red",
    });
    let refused = create(&world, &body).await?.expect_problem(400, "validation_failed")?;
    let mut fields = refused.field_errors();
    fields.sort_unstable();
    let expected =
        ["colour", "input_data", "max_attempts", "node_id", "priority", "scheduled_at", "status", "timeout_ms", "type"];
    assert_eq!(fields, expected);
    for (input, field) in [
        (json!(null), "input_data"),
        (json!([]), "input_data"),
        (json!({"context": "alone"}), "input_data"),
        (json!({"inputs": []}), "input_data"),
        (json!({"inputs": "text"}), "input_data.inputs"),
        (json!({"inputs": ["a", 7]}), "input_data.inputs[1]"),
        (json!({"node_ids": ["seven"]}), "input_data.node_ids[0]"),
    ] {
        let body = json!({"type": "semantic_analysis", "input_data": input});
        let refused = create(&world, &body).await?.expect_problem(400, "validation_failed")?;
        assert!(refused.field_errors().contains(&field), "{field}: {}", refused.text);
    }
    let refused = create(&world, &json!({})).await?.expect_problem(400, "validation_failed")?;
    let mut fields = refused.field_errors();
    fields.sort_unstable();
    assert_eq!(fields, ["input_data", "type"]);
    let list = world.user.get(&world.path("/ai-tasks")).await?.expect(200)?;
    assert_eq!(list.body["data"], json!([]));
    Ok(())
}

#[tokio::test]
async fn the_wake_up_goes_to_the_queue_of_its_type_and_priority() -> Result<()> {
    let world = World::new().await?;
    for (kind, priority, queue) in [
        ("semantic_analysis", "normal", topology::PROCESS_QUEUE),
        ("content_fusion", "urgent", topology::PROCESS_QUEUE_URGENT),
        ("node_enhancement", "high", topology::PROCESS_QUEUE_HIGH),
        ("content_generation", "low", topology::PROCESS_QUEUE_LOW),
        ("batch_processing", "urgent", topology::BATCH_PROCESS_QUEUE),
    ] {
        let task = world.task(json!({"type": kind, "priority": priority})).await?;
        let wake = Wakes::of(&*world.store.setup.bus, queue).await?.next().await?;
        assert_eq!((wake.task_id.to_string(), wake.kind.as_str(), wake.priority.as_str()), (task, kind, priority));
    }
    Ok(())
}

#[tokio::test]
async fn a_task_for_later_is_not_queued_before() -> Result<()> {
    let world = World::new().await?;
    let mut wakes = Wakes::of(&*world.store.setup.bus, topology::PROCESS_QUEUE).await?;
    let later = world.task(json!({"scheduled_at": "2999-12-31T23:59:59.5Z"})).await?;
    let at_once = world.queued_task(json!({"scheduled_at": "2001-01-01T00:00:00+02:00"})).await?;
    assert_eq!(wakes.next().await?.task_id.to_string(), at_once, "what is overdue is due; what is later is not");
    let waiting = world.task_now(&later).await?;
    assert_eq!((&waiting["status"], &waiting["scheduled_at"]), (&json!("pending"), &json!("2999-12-31T23:59:59.500Z")));
    assert_eq!(world.broker("b").refusal(&later).await?, "later");

    // Brought forward, it runs.
    let path = format!("/api/v1/ai-tasks/{later}");
    world.user.patch(&path, &json!({"scheduled_at": null}), None).await?.expect(200)?;
    assert_eq!(wakes.next().await?.task_id.to_string(), later);
    world.until_status(&later, "queued").await?;
    world.broker("b").claim(&later).await?;
    Ok(())
}

#[tokio::test]
async fn a_task_is_queued_when_its_time_has_come() -> Result<()> {
    let world = World::new().await?;
    let mut wakes = Wakes::of(&*world.store.setup.bus, topology::PROCESS_QUEUE).await?;
    let soon = sker_types::now() + std::time::Duration::from_millis(700);
    let task = world.task(json!({"scheduled_at": soon})).await?;
    assert_eq!(wakes.next().await?.task_id.to_string(), task);
    assert!(sker_types::now() >= soon, "not before its time");
    world.until_status(&task, "queued").await?;
    world.broker("b").claim(&task).await?;
    Ok(())
}

#[tokio::test]
async fn tasks_are_found_by_what_is_documented() -> Result<()> {
    let world = World::new().await?;
    let node = world.node("one").await?;
    let of_node = world.task(json!({"node_id": node, "priority": "low"})).await?;
    let fusion = world.task(json!({"type": "content_fusion"})).await?;
    for task in [&of_node, &fusion] {
        world.until_status(task, "queued").await?;
    }
    world.user.post(&format!("/api/v1/ai-tasks/{fusion}/cancel"), &json!({})).await?.expect(200)?;
    for (query, expected) in [
        (format!("node_id={node}"), vec![&of_node]),
        ("type=content_fusion".to_owned(), vec![&fusion]),
        ("priority=low".to_owned(), vec![&of_node]),
        ("status=cancelled".to_owned(), vec![&fusion]),
        ("status=queued,cancelled".to_owned(), vec![&of_node, &fusion]),
        ("status=failed".to_owned(), vec![]),
        ("sort=-created_at".to_owned(), vec![&fusion, &of_node]),
    ] {
        for list in [world.path("/ai-tasks"), "/api/v1/ai-tasks".to_owned()] {
            let found = world.user.get(&format!("{list}?{query}")).await?.expect(200)?;
            assert_eq!(ids(&found)?.iter().collect::<Vec<_>>(), expected, "{list}?{query}");
        }
    }
    for query in ["status=sleeping", "type=guessing", "priority=now", "colour=red", "node_id=seven"] {
        let refused = world.user.get(&format!("/api/v1/ai-tasks?{query}")).await?.expect(400).context(query)?;
        assert_eq!(refused.field_errors().len(), 1, "{}", refused.text);
    }
    Ok(())
}

/// Such a time could be stored and not be read again: no list, and no reconciler, would get past it.
#[tokio::test]
async fn a_time_that_leads_out_of_the_calendar_is_refused() -> Result<()> {
    let world = World::new().await?;
    for time in ["9999-12-31T23:59:59-12:00", "0000-01-01T00:00:00+12:00"] {
        let body = json!({"type": "semantic_analysis", "input_data": {"inputs": ["x"]}, "scheduled_at": time});
        let refused = create(&world, &body).await?.expect_problem(400, "validation_failed").context(time)?;
        assert_eq!(refused.field_errors(), ["scheduled_at"]);
    }
    world.task(json!({"scheduled_at": "9999-12-31T23:59:59Z"})).await?;
    assert_eq!(
        world.user.get("/api/v1/ai-tasks").await?.expect(200)?.body["data"][0]["scheduled_at"],
        "9999-12-31T23:59:59Z"
    );
    Ok(())
}
