use std::{sync::atomic::Ordering, time::Duration};

use sker_broker::app::WorkerOptions;
use sker_bus::{
    Bus, Message,
    topology::{DEAD_LETTER_QUEUE, LLM_DIRECT, PROCESS_QUEUE},
};

use crate::support::{TestEngine, World};

#[tokio::test]
async fn a_malformed_message_becomes_a_dead_letter_and_others_go_on() {
    let world = World::working(TestEngine::default()).await;
    let mut dead = world.bus.consume(DEAD_LETTER_QUEUE, 10).await.unwrap();
    let broken = Message::json("task.wake", "store", "llm.process.normal", "no wake at all").unwrap();
    let broken_id = broken.id;
    world.bus.publish(LLM_DIRECT, vec![broken]).await.unwrap();
    let id = world.store.submit("content_generation", &World::input("fine")).await;
    world.store.until_status(&id, "completed").await;
    let letter = tokio::time::timeout(Duration::from_secs(60), dead.recv()).await.unwrap().unwrap();
    assert_eq!(letter.message.id, broken_id);
    world.stop().await;
}

#[tokio::test]
async fn a_panicking_engine_fails_its_task_and_no_other() {
    let world = World::working(TestEngine::default()).await;
    let poison = world.store.submit("content_generation", &World::input("panic")).await;
    let fine = world.store.submit("content_generation", &World::input("fine")).await;
    let failure = world.store.until_status(&poison, "failed").await.failure.unwrap();
    assert_eq!((failure.code.as_str(), failure.retryable), ("engine_panicked", false));
    assert!(!failure.message.contains("told to panic"), "a panic message is not for users");
    world.store.until_status(&fine, "completed").await;
    world.stop().await;
}

#[tokio::test]
async fn a_message_about_a_finished_or_unknown_task_is_dropped() {
    let world = World::working(TestEngine::default()).await;
    let id = world.store.submit("content_generation", &World::input("fine")).await;
    world.store.until_status(&id, "completed").await;
    world.store.wake(&id).await;
    let next = world.store.submit("content_generation", &World::input("fine")).await;
    world.store.until_status(&next, "completed").await;
    let world = world.stop().await;
    assert_eq!(world.store.row(&id).effects, [1]);
    assert_eq!(world.bus.depth(PROCESS_QUEUE).await, Some(0));
    assert_eq!(world.bus.depth(DEAD_LETTER_QUEUE).await, Some(0));
}

#[tokio::test]
async fn a_store_that_is_away_is_waited_for_without_a_hot_loop() {
    let world = World::working(TestEngine::default()).await;
    world.store.away.store(true, Ordering::SeqCst);
    let id = world.store.submit("content_generation", &World::input("fine")).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    let calls = world.store.calls_while_away.load(Ordering::SeqCst);
    assert!((1..=12).contains(&calls), "{calls} calls in 600 ms");
    assert_eq!(world.store.row(&id).task.status, "queued");
    world.store.away.store(false, Ordering::SeqCst);
    assert_eq!(world.store.until_status(&id, "completed").await.effects, [1]);
    world.stop().await;
}

#[tokio::test]
async fn a_result_is_kept_until_the_store_is_back() {
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let world = World::working(TestEngine { gate: Some(gate.clone()), ..TestEngine::default() }).await;
    let id = world.store.submit("content_generation", &World::input("hold")).await;
    world.store.until_status(&id, "processing").await;
    world.store.away.store(true, Ordering::SeqCst);
    gate.add_permits(1);
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(world.store.row(&id).task.status, "processing");
    world.store.away.store(false, Ordering::SeqCst);
    assert_eq!(world.store.until_status(&id, "completed").await.effects, [1]);
    assert_eq!(world.engine.started.load(Ordering::SeqCst), 1, "the engine ran once");
    world.stop().await;
}

#[tokio::test]
async fn a_lost_lease_aborts_the_engine_and_its_result_counts_for_nothing() {
    let mut world = World::new(TestEngine::default());
    world.start(WorkerOptions {
        slots: 4,
        lease: Duration::from_millis(150),
        task_timeout: Duration::from_secs(60),
        drain: Duration::from_secs(30),
    });
    let id = world.store.submit("content_generation", &World::input("hang")).await;
    world.store.until_status(&id, "processing").await;
    world.store.take_over(&id);
    tokio::time::timeout(Duration::from_secs(60), world.engine.aborts.notified()).await.unwrap();
    let world = world.stop().await;
    let row = world.store.row(&id);
    assert_eq!((row.task.status.as_str(), row.effects.len()), ("processing", 0));
}

#[tokio::test]
async fn a_late_completion_is_refused_and_the_message_dropped() {
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let world = World::working(TestEngine { gate: Some(gate.clone()), ..TestEngine::default() }).await;
    let id = world.store.submit("content_generation", &World::input("hold")).await;
    world.store.until_status(&id, "processing").await;
    world.store.take_over(&id);
    gate.add_permits(1);
    let world = world.stop().await;
    assert!(world.store.row(&id).effects.is_empty());
    assert_eq!(world.bus.depth(PROCESS_QUEUE).await, Some(0));
}
