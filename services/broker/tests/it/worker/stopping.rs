use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use sker_broker::app::WorkerOptions;
use sker_bus::topology::PROCESS_QUEUE;
use tokio::sync::Semaphore;

use crate::support::{TestEngine, World, options};

fn two_slots(drain: Duration) -> WorkerOptions {
    WorkerOptions { slots: 2, drain, ..options() }
}

#[tokio::test]
async fn cancelling_a_running_task_aborts_its_engine() {
    let mut world = World::new(TestEngine::default());
    // With such a lease only the event can tell.
    world.start(WorkerOptions { lease: Duration::from_secs(3_600), ..two_slots(Duration::from_secs(30)) });
    let id = world.store.submit("content_generation", &World::input("hang")).await;
    world.until_engine_started(1).await;
    world.store.cancel(&id).await;
    tokio::time::timeout(Duration::from_secs(60), world.engine.aborts.notified()).await.expect("the event is heard");
    let world = world.stop().await;
    let row = world.store.row(&id);
    assert_eq!((row.task.status.as_str(), row.effects.len(), row.released), ("cancelled", 0, 0));
    assert_eq!(world.bus.depth(PROCESS_QUEUE).await, Some(0));
}

#[tokio::test]
async fn a_cancellation_whose_event_is_missed_is_told_with_the_lease() {
    let mut world = World::new(TestEngine::default());
    world.start(WorkerOptions { lease: Duration::from_millis(150), ..two_slots(Duration::from_secs(30)) });
    let id = world.store.submit("content_generation", &World::input("hang")).await;
    world.store.until_status(&id, "processing").await;
    world.store.set_status(&id, "cancelled");
    let running = Arc::clone(world.broker.as_ref().unwrap().running());
    tokio::time::timeout(Duration::from_secs(60), async {
        while !running.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    world.stop().await;
}

#[tokio::test]
async fn stopping_lets_running_tasks_finish() {
    let gate = Arc::new(Semaphore::new(0));
    let mut world = World::new(TestEngine { gate: Some(gate.clone()), ..TestEngine::default() });
    world.start(two_slots(Duration::from_secs(30)));
    let id = world.store.submit("content_generation", &World::input("hold")).await;
    world.store.until_status(&id, "processing").await;
    world.begin_stop();
    gate.add_permits(1);
    let world = world.stop().await;
    let row = world.store.row(&id);
    assert_eq!((row.task.status.as_str(), row.released), ("completed", 0));
}

#[tokio::test]
async fn stopping_gives_back_what_cannot_finish_and_leaves_the_rest_in_the_queue() {
    let mut world = World::new(TestEngine::default());
    world.start(two_slots(Duration::from_millis(100)));
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(world.store.submit("content_generation", &World::input("hang")).await);
    }
    for id in &ids[..2] {
        world.store.until_status(id, "processing").await;
    }
    let world = world.stop().await;
    let rows: Vec<_> = ids.iter().map(|id| world.store.row(id)).collect();
    assert!(rows.iter().all(|row| row.task.status == "queued" && row.effects.is_empty()));
    assert_eq!(rows.iter().map(|row| row.released).sum::<u32>(), 2);
    // The store wakes the two again; the messages of the other three wait.
    assert_eq!(world.bus.depth(PROCESS_QUEUE).await, Some(3));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_never_answers_does_not_hold_up_the_stop() {
    let mut world = World::new(TestEngine::default());
    world.start(WorkerOptions { farewell: Duration::from_secs(4), ..two_slots(Duration::from_secs(5)) });
    let id = world.store.submit("content_generation", &World::input("hang")).await;
    world.until_engine_started(1).await;
    world.store.hangs.store(true, Ordering::SeqCst);
    world.store.submit("content_generation", &World::input("fine")).await;
    let claiming = async {
        while world.store.calls_while_away.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), claiming).await.expect("a claim is under way");
    // The clock is the runtime's own: it moves only by what is waited for.
    let begun = tokio::time::Instant::now();
    let world = world.stop().await;
    assert!(begun.elapsed() < Duration::from_secs(5 + 4 + 1), "{:?}", begun.elapsed());
    assert_eq!(world.store.row(&id).task.status, "processing");
    assert_eq!(
        world.bus.depth(PROCESS_QUEUE).await,
        Some(1),
        "the message of what was not claimed is back in its queue"
    );
}

#[tokio::test]
async fn a_worker_without_work_has_all_its_slots_free() {
    let mut world = World::new(TestEngine::default());
    world.start(two_slots(Duration::from_secs(30)));
    let (ended, hanging) = (World::input("fine"), World::input("hang"));
    let id = world.store.submit("content_generation", &ended).await;
    world.store.until_status(&id, "completed").await;
    let broker = Arc::clone(world.broker.as_ref().unwrap());
    let idle = async {
        while !broker.running().is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), idle).await.unwrap();
    assert_eq!(broker.free_slots(), 2);
    let id = world.store.submit("content_generation", &hanging).await;
    world.until_engine_started(2).await;
    assert_eq!(broker.free_slots(), 1);
    world.store.cancel(&id).await;
    world.stop().await;
}

#[tokio::test]
async fn after_a_crash_the_next_run_gives_back_what_the_last_one_held() {
    let mut world = World::new(TestEngine::default());
    world.start(two_slots(Duration::from_secs(30)));
    let id = world.store.submit("content_generation", &World::input("hang")).await;
    let session = world.store.until_status(&id, "processing").await.session;
    world.crash().await;
    world.start(two_slots(Duration::from_millis(100)));
    world.store.until_session_released(session.parse().unwrap()).await;
    assert_eq!(world.store.row(&id).released, 1);
    // Its message came back to the queue with the crash, or the store sends it again: someone runs it under a new epoch.
    world.store.wake(&id).await;
    let row = world.store.until_status(&id, "processing").await;
    assert_eq!(row.task.lease_epoch, 2);
    world.stop().await;
}
