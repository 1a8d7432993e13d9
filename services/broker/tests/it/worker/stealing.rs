use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use sker_broker::app::WorkerOptions;
use sker_bus::topology::PROCESS_QUEUE;

use crate::support::{FlakyBus, TestEngine, World, options};

fn stealing() -> WorkerOptions {
    WorkerOptions { steal: Duration::from_millis(50), ..options() }
}

#[tokio::test]
async fn work_that_nobody_sent_a_message_of_is_found() {
    let mut world = World::new(TestEngine::default());
    world.start(stealing());
    let ids: Vec<_> = (0..10).map(|_| world.store.add("content_generation", "normal", &World::input("fine"))).collect();
    for id in &ids {
        assert_eq!(world.store.until_status(id, "completed").await.effects, [1]);
    }
    assert_eq!(world.counted("broker_stolen_tasks_total"), 10);
    world.stop().await;
}

#[tokio::test]
async fn an_idle_broker_runs_what_a_full_one_holds_messages_of() {
    let mut full = World::new(TestEngine::default());
    full.start(WorkerOptions { slots: 2, ..options() });
    for _ in 0..4 {
        full.store.submit("content_generation", &World::input("hang")).await;
    }
    full.until_engine_started(2).await;
    // All four messages are in its hands: no other consumer can get one.
    full.until_depth(PROCESS_QUEUE, 0).await;
    let mut idle = full.beside(TestEngine::default());
    idle.start(WorkerOptions { slots: 2, ..stealing() });
    idle.until_engine_started(2).await;
    assert_eq!((full.engine.started.load(Ordering::SeqCst), idle.counted("broker_deliveries_total")), (2, 0));
    idle.crash().await;
    full.crash().await;
}

#[tokio::test]
async fn with_the_bus_away_tasks_run_all_the_same_and_with_it_back_messages_are_taken_again() {
    let bus = Arc::new(FlakyBus::default());
    let mut world = World::on(bus.clone(), TestEngine::default());
    bus.away.store(true, Ordering::SeqCst);
    world.start(stealing());
    let add = || world.store.add("content_generation", "normal", &World::input("fine"));
    let ids: Vec<_> = (0..30).map(|_| add()).collect();
    for id in &ids {
        assert_eq!(world.store.until_status(id, "completed").await.effects, [1]);
    }
    assert_eq!(world.counted("broker_deliveries_total"), 0);
    bus.away.store(false, Ordering::SeqCst);
    // Old news, to see that it is taken.
    world.store.wake(&ids[0]).await;
    sker_testkit::eventually("messages are taken", async || {
        Ok((world.counted("broker_deliveries_total") == 1).then_some(()))
    })
    .await
    .unwrap();
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn where_work_was_found_more_is_asked_for_at_once() {
    let mut world = World::new(TestEngine::default());
    let ids: Vec<_> = (0..20).map(|_| world.store.add("content_generation", "normal", &World::input("fine"))).collect();
    // The clock is the runtime's own: it moves only by what is waited for.
    let begun = tokio::time::Instant::now();
    world.start(WorkerOptions { steal: Duration::from_secs(10), ..options() });
    for id in &ids {
        world.store.until_status(id, "completed").await;
    }
    assert!(begun.elapsed() < Duration::from_secs(15), "one pause, not five: {:?}", begun.elapsed());
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_broker_without_work_asks_about_once_a_second() {
    let mut world = World::new(TestEngine::default());
    world.start(WorkerOptions { steal: Duration::from_secs(1), ..options() });
    tokio::time::sleep(Duration::from_secs(600)).await;
    let polls = world.store.polls.load(Ordering::SeqCst);
    assert!((450..=850).contains(&polls), "{polls} claims in 600 s");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_steal_whose_answer_was_lost_costs_no_other_tasks_and_no_messages_their_time() {
    let mut world = World::new(TestEngine::default());
    world.start(WorkerOptions { slots: 2, lease: Duration::from_secs(3_600), ..stealing() });
    let ids: Vec<_> = (0..6).map(|_| world.store.add("content_generation", "normal", &World::input("fine"))).collect();
    world.store.lost_answers.store(1, Ordering::SeqCst);
    for id in &ids {
        world.store.until(id, "was claimed", |row| row.task.lease_epoch == 1).await;
    }
    // What was claimed and not heard of waits for its lease; the rest is done, and messages are still taken.
    let id = world.store.submit("content_generation", &World::input("fine")).await;
    world.store.until_status(&id, "completed").await;
    let rest = async {
        while ids.iter().filter(|id| world.store.row(id).effects == [1]).count() < 4 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), rest).await.expect("all but the tasks of one answer are done");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_stolen_from_a_store_that_is_away() {
    let mut world = World::new(TestEngine::default());
    world.start(stealing());
    world.store.away.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(600)).await;
    let calls = world.store.calls_while_away.load(Ordering::SeqCst);
    // The lease keeper asks every second; nobody else does.
    assert!((550..=620).contains(&calls), "{calls} calls in 600 s");
    let id = world.store.add("content_generation", "normal", &World::input("fine"));
    world.store.away.store(false, Ordering::SeqCst);
    assert_eq!(world.store.until_status(&id, "completed").await.effects, [1]);
    world.stop().await;
}
