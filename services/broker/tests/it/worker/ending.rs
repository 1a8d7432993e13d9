use crate::support::{TestEngine, World, options};
use serde_json::json;

#[tokio::test]
async fn a_task_is_claimed_run_and_completed_once() {
    let world = World::working(TestEngine::default()).await;
    let node = world.store.add_node("Pumps", "Heat pumps move heat. They need electric power to do that.");
    let id = world.store.submit("semantic_analysis", &json!({"node_ids": [node]})).await;
    let row = world.store.until_status(&id, "completed").await;
    let output = row.output.unwrap();
    assert_eq!(
        (&output["engine"], &output["generative"], &output["language"]),
        (&json!("local"), &json!(false), &json!("en"))
    );
    assert_eq!(row.effects, [1]);
    let world = world.stop().await;
    assert_eq!(world.bus.depth("llm.process.queue").await, Some(0));
}

#[tokio::test]
async fn many_tasks_of_all_priorities_are_all_completed() {
    let world = World::working(TestEngine::default()).await;
    let mut ids = Vec::new();
    for number in 0..120 {
        let kind = if number % 5 == 0 { "batch_processing" } else { "semantic_analysis" };
        let priority = ["low", "normal", "high", "urgent"][number % 4];
        let id =
            world.store.add(kind, priority, &json!({"inputs": [format!("Sentence number {number} is about rivers.")]}));
        world.store.wake(&id).await;
        ids.push(id);
    }
    for id in &ids {
        assert_eq!(world.store.until_status(id, "completed").await.effects, [1]);
    }
    world.stop().await;
}

#[tokio::test]
async fn urgent_work_goes_first_and_low_priority_does_not_starve() {
    let mut world = World::new(TestEngine::default());
    let mut low = Vec::new();
    for (priority, count) in [("low", 10), ("urgent", 60)] {
        for number in 0..count {
            let input = json!({"inputs": [format!("Number {number}.")]});
            let id = world.store.add("semantic_analysis", priority, &input);
            world.store.wake(&id).await;
            if priority == "low" {
                low.push(id);
            }
        }
    }
    world.start(sker_broker::app::WorkerOptions { slots: 1, ..options() });
    for id in &low {
        world.store.until_status(id, "completed").await;
    }
    let order = world.store.claim_order();
    let first_low = order.iter().position(|id| low.contains(id)).unwrap();
    assert!((1..=20).contains(&first_low), "the first of low priority was number {first_low}");
    let early = order.iter().take(27).filter(|id| low.contains(id)).count();
    assert!((2..=5).contains(&early), "{early} of the first 27 were of low priority");
    world.stop().await;
}

#[tokio::test]
async fn a_retryable_failure_says_so_and_when() {
    let world = World::working(TestEngine::default()).await;
    let id = world.store.submit("content_generation", &World::input("transient")).await;
    let row = world.store.until(&id, "was given back", |row| row.failure.is_some()).await;
    let failure = row.failure.unwrap();
    assert_eq!((failure.code.as_str(), failure.retryable, failure.retry_after_ms), ("engine_unavailable", true, 7));
    assert_eq!(row.task.status, "queued");
    world.stop().await;
}

#[tokio::test]
async fn a_second_attempt_completes_under_a_new_epoch() {
    let world = World::working(TestEngine::default()).await;
    let id = world.store.submit("content_generation", &World::input("twice")).await;
    world.store.until(&id, "failed once", |row| row.failure.is_some()).await;
    world.store.wake(&id).await;
    let row = world.store.until_status(&id, "completed").await;
    assert_eq!((row.effects, row.task.lease_epoch), (vec![1, 2], 2));
    world.stop().await;
}

#[tokio::test]
async fn a_failure_that_no_attempt_can_mend_ends_the_task() {
    let world = World::working(TestEngine::default()).await;
    let nothing = json!({"node_ids": ["01900000-0000-7000-8000-000000000000"]});
    let unknown = json!({"inputs": ["text"], "engine": "nobody"});
    for (kind, input, code) in [
        ("content_generation", World::input("permanent"), "invalid_input"),
        ("content_fusion", nothing, "invalid_input"),
        ("content_fusion", json!({"inputs": ["  "]}), "invalid_input"),
        ("content_fusion", unknown, "unknown_engine"),
        ("interpretive_dance", json!({"inputs": ["text"]}), "invalid_input"),
    ] {
        let id = world.store.submit(kind, &input).await;
        let failure = world.store.until_status(&id, "failed").await.failure.unwrap();
        assert_eq!((failure.code.as_str(), failure.retryable), (code, false), "{input}");
    }
    world.stop().await;
}

#[tokio::test]
async fn a_task_beyond_its_time_fails_once_and_its_engine_is_aborted() {
    let world = World::working(TestEngine::default()).await;
    let id = world.store.add("content_generation", "normal", &World::input("hang"));
    world.store.change(&id, |task| task.timeout_ms = 50);
    world.store.wake(&id).await;
    let row = world.store.until_status(&id, "failed").await;
    assert_eq!((row.failure.unwrap().code.as_str(), row.effects), ("timeout", vec![1]));
    assert_eq!(world.engine.aborted.load(std::sync::atomic::Ordering::SeqCst), 1);
    world.stop().await;
}
