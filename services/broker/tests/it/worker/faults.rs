use std::{sync::atomic::Ordering, time::Duration};

use sker_broker::app::WorkerOptions;
use sker_bus::{
    Message,
    topology::{DEAD_LETTER_QUEUE, LLM_DIRECT, PROCESS_QUEUE},
};
use sker_types::{TaskWake, new_id};

use crate::support::{TestEngine, World, options};

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
    let unknown = TaskWake { task_id: new_id(), kind: "content_generation".to_owned(), priority: "normal".to_owned() };
    let message = Message::json("task.wake", "store", "llm.process.normal", &unknown).unwrap();
    assert!(world.bus.publish(LLM_DIRECT, vec![message]).await.unwrap().is_empty());
    let next = world.store.submit("content_generation", &World::input("fine")).await;
    world.store.until_status(&next, "completed").await;
    let world = world.stop().await;
    assert_eq!(world.store.row(&id).effects, [1]);
    assert_eq!(world.bus.depth(PROCESS_QUEUE).await, Some(0));
    assert_eq!(world.bus.depth(DEAD_LETTER_QUEUE).await, Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_is_waited_for_without_a_hot_loop() {
    // The clock of the test goes on only when nothing else does: the number of calls is that of the waits between them.
    let world = World::working(TestEngine::default()).await;
    world.store.away.store(true, Ordering::SeqCst);
    let id = world.store.submit("content_generation", &World::input("fine")).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    world.until_depth(PROCESS_QUEUE, 1).await;
    let calls = world.store.calls_while_away.load(Ordering::SeqCst);
    // Claims every few seconds for the time of a lease, and renewals every second.
    assert!((550..=700).contains(&calls), "{calls} calls in 600 s");
    assert_eq!(world.store.row(&id).task.status, "queued");
    world.store.away.store(false, Ordering::SeqCst);
    assert_eq!(world.store.until_status(&id, "completed").await.effects, [1]);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_result_is_kept_until_the_store_is_back() {
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let world = World::working(TestEngine { gate: Some(gate.clone()), ..TestEngine::default() }).await;
    let id = world.store.submit("content_generation", &World::input("hold")).await;
    world.store.until_status(&id, "processing").await;
    world.store.away.store(true, Ordering::SeqCst);
    gate.add_permits(1);
    // Longer than an engine would be let work on.
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(world.store.row(&id).task.status, "processing");
    world.store.away.store(false, Ordering::SeqCst);
    assert_eq!(world.store.until_status(&id, "completed").await.effects, [1]);
    assert_eq!(world.engine.started.load(Ordering::SeqCst), 1, "the engine ran once");
    world.stop().await;
}

#[tokio::test]
async fn a_lost_lease_aborts_the_engine_and_its_result_counts_for_nothing() {
    let mut world = World::new(TestEngine::default());
    world.start(WorkerOptions { lease: Duration::from_millis(150), ..options() });
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

#[tokio::test]
async fn a_claim_that_was_lost_and_won_again_ends_the_first_run() {
    let mut world = World::new(TestEngine::default());
    // No renewal tells that the first claim is lost: the second one comes sooner.
    let hour = Duration::from_secs(3_600);
    world.start(WorkerOptions { lease: hour, task_timeout: hour, ..options() });
    let id = world.store.submit("content_generation", &World::input("hang")).await;
    world.until_engine_started(1).await;
    world.store.set_status(&id, "queued");
    world.store.wake(&id).await;
    world.store.until(&id, "was claimed again", |row| row.task.lease_epoch == 2).await;
    tokio::time::timeout(Duration::from_secs(60), world.engine.aborts.notified()).await.expect("the first run ends");
    world.until_engine_started(2).await;
    world.store.cancel(&id).await;
    tokio::time::timeout(Duration::from_secs(60), world.engine.aborts.notified()).await.expect("the second one too");
    let world = world.stop().await;
    assert_eq!((world.store.row(&id).effects.len(), world.engine.started.load(Ordering::SeqCst)), (0, 2));
}

#[tokio::test]
async fn a_panic_outside_the_engine_leaves_nothing_running() {
    let world = World::working(TestEngine::default()).await;
    let id = world.store.add("content_generation", "normal", &World::input("fine"));
    world.store.panics_for(&id);
    world.store.wake(&id).await;
    world.store.until_status(&id, "processing").await;
    let broker = world.broker.clone().unwrap();
    let next = world.store.submit("content_generation", &World::input("fine")).await;
    world.store.until_status(&next, "completed").await;
    let over = async {
        while !broker.running().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), over).await.expect("the lease is not renewed any more");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_cut_off_for_long_gives_up_what_it_runs() {
    let mut world = World::new(TestEngine::default());
    world.start(WorkerOptions { task_timeout: Duration::from_secs(3_600), ..options() });
    let id = world.store.submit("content_generation", &World::input("hang")).await;
    world.until_engine_started(1).await;
    let aborted = || world.engine.aborted.load(Ordering::SeqCst);
    // A store that is restarted: its leases do not run out meanwhile.
    world.store.away.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(45)).await;
    world.store.away.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(aborted(), 0, "a restart of the store costs no work");
    world.store.away.store(true, Ordering::SeqCst);
    tokio::time::timeout(Duration::from_secs(40), world.engine.aborts.notified()).await.expect_err("not at once");
    tokio::time::timeout(Duration::from_secs(60), world.engine.aborts.notified()).await.expect("given up");
    // Meanwhile another broker has it.
    world.store.take_over(&id);
    world.store.away.store(false, Ordering::SeqCst);
    let world = world.stop().await;
    let row = world.store.row(&id);
    assert_eq!((row.task.lease_epoch, row.effects.len(), row.released), (2, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_was_away_for_long_stops_what_another_one_has_taken() {
    let mut world = World::new(TestEngine::default());
    world.start(WorkerOptions { task_timeout: Duration::from_secs(3_600), ..options() });
    let id = world.store.submit("content_generation", &World::input("hang")).await;
    world.until_engine_started(1).await;
    // Nothing of it runs for 90 s, as after a SIGSTOP; then it goes on.
    world.store.take_over(&id);
    tokio::time::advance(Duration::from_secs(90)).await;
    tokio::time::timeout(Duration::from_secs(60), world.engine.aborts.notified()).await.expect("its run is stopped");
    let world = world.stop().await;
    let row = world.store.row(&id);
    assert_eq!((row.task.status.as_str(), row.task.lease_epoch, row.effects.len()), ("processing", 2, 0));
}
