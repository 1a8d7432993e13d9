use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use sker_broker::app::WorkerOptions;
use sker_bus::topology::PROCESS_QUEUE;
use sker_testkit::eventually;
use tokio::sync::Semaphore;

use crate::support::{FlakyBus, TestEngine, World, options};

/// With such a lease no reconciler helps.
const HOUR: Duration = Duration::from_secs(3_600);

fn holding() -> (Arc<Semaphore>, TestEngine) {
    let gate = Arc::new(Semaphore::new(0));
    (Arc::clone(&gate), TestEngine { gate: Some(gate), ..TestEngine::default() })
}

#[tokio::test]
async fn a_message_is_acknowledged_when_its_task_is_claimed_and_not_when_it_is_done() {
    let mut world = World::working(TestEngine::default()).await;
    let id = world.store.submit("content_generation", &World::input("hang")).await;
    world.until_engine_started(1).await;
    // A second one: when it runs, the broker has gone on from settling the first.
    let next = world.store.submit("content_generation", &World::input("fine")).await;
    world.store.until_status(&next, "completed").await;
    world.crash().await;
    assert_eq!(world.bus.depth(PROCESS_QUEUE).await, Some(0), "no message came back with the crash");
    assert_eq!(world.store.row(&id).task.status, "processing", "its lease guards it");
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_repeated_and_runs_at_once() {
    let mut world = World::new(TestEngine::default());
    world.start(WorkerOptions { lease: HOUR, ..options() });
    world.store.lost_answers.store(2, Ordering::SeqCst);
    let id = world.store.submit("content_generation", &World::input("fine")).await;
    let row = world.store.until_status(&id, "completed").await;
    assert_eq!((row.effects, row.task.attempts), (vec![1], 1));
    let world = world.stop().await;
    assert_eq!(world.engine.started.load(Ordering::SeqCst), 1);
    assert_eq!(world.bus.depth(PROCESS_QUEUE).await, Some(0));
}

#[tokio::test]
async fn a_repeated_message_of_a_running_task_is_acknowledged_and_its_run_goes_on() {
    let (gate, engine) = holding();
    let mut world = World::new(engine);
    world.start(WorkerOptions { lease: HOUR, ..options() });
    let id = world.store.submit("content_generation", &World::input("hold")).await;
    world.until_engine_started(1).await;
    world.store.wake(&id).await;
    eventually("the repeated message is noticed", async || {
        Ok((world.counted("broker_repeated_claims_total") == 1).then_some(()))
    })
    .await
    .unwrap();
    gate.add_permits(1);
    let row = world.store.until_status(&id, "completed").await;
    assert_eq!((row.effects, row.task.attempts), (vec![1], 1));
    let world = world.stop().await;
    assert_eq!(world.engine.started.load(Ordering::SeqCst), 1, "the engine ran once");
    assert_eq!(world.bus.depth(PROCESS_QUEUE).await, Some(0));
}

#[tokio::test]
async fn an_answer_from_before_the_end_of_a_run_does_not_begin_it_again() {
    let (gate, engine) = holding();
    let mut world = World::new(engine);
    world.start(WorkerOptions { lease: HOUR, ..options() });
    let id = world.store.submit("content_generation", &World::input("hold")).await;
    world.until_engine_started(1).await;
    world.store.late.store(true, Ordering::SeqCst);
    world.store.wake(&id).await;
    let late = async || Ok((world.store.late_answers.load(Ordering::SeqCst) == 1).then_some(()));
    eventually("the store knows that the broker holds it", late).await.unwrap();
    gate.add_permits(1);
    world.store.until_status(&id, "completed").await;
    let running = Arc::clone(world.broker.as_ref().unwrap().running());
    eventually("the run is over", async || Ok(running.is_empty().then_some(()))).await.unwrap();
    world.store.late.store(false, Ordering::SeqCst);
    let repeated = async || Ok((world.counted("broker_repeated_claims_total") == 1).then_some(()));
    eventually("the old answer is noticed", repeated).await.unwrap();
    let world = world.stop().await;
    assert_eq!(world.engine.started.load(Ordering::SeqCst), 1, "the engine ran once");
    assert_eq!(world.bus.depth(PROCESS_QUEUE).await, Some(0));
}

#[tokio::test]
async fn a_full_broker_holds_no_more_messages_than_it_has_slots() {
    let mut world = World::new(TestEngine::default());
    world.start(WorkerOptions { slots: 2, ..options() });
    for _ in 0..7 {
        world.store.submit("content_generation", &World::input("hang")).await;
    }
    world.until_engine_started(2).await;
    world.until_depth(PROCESS_QUEUE, 3).await;
    world.crash().await;
}

#[tokio::test(start_paused = true)]
async fn messages_that_cannot_be_acknowledged_hold_up_nothing_and_run_nothing_twice() {
    let bus = Arc::new(FlakyBus::default());
    let mut world = World::on(bus.clone(), TestEngine::default());
    bus.deaf.store(true, Ordering::SeqCst);
    world.start(options());
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(world.store.submit("content_generation", &World::input("fine")).await);
    }
    for id in &ids {
        world.store.until_status(id, "completed").await;
    }
    bus.deaf.store(false, Ordering::SeqCst);
    eventually("the messages that came again are acknowledged", async || {
        Ok((bus.settled.load(Ordering::SeqCst) == 3).then_some(()))
    })
    .await
    .unwrap();
    assert!(world.counted("broker_settle_failures_total") > 0);
    let world = world.stop().await;
    assert_eq!(world.bus.depth(PROCESS_QUEUE).await, Some(0));
    assert!(ids.iter().all(|id| world.store.row(id).effects == [1]));
    assert_eq!(world.engine.started.load(Ordering::SeqCst), 3);
}
