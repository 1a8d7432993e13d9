//! On the real RabbitMQ.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use sker_broker::app::WorkerOptions;
use sker_bus::{
    AmqpBus, AmqpConfig, Bus, Message,
    topology::{DEAD_LETTER_QUEUE, LLM_DIRECT, PROCESS_QUEUE},
};
use sker_testkit::{TestVhost, eventually, rabbitmq_vhost};
use tokio::sync::Semaphore;

use crate::support::{TestEngine, World, options};

async fn vhost() -> TestVhost {
    rabbitmq_vhost().await.expect("`cargo xtask test` starts RabbitMQ")
}

/// A connection of one's own.
async fn connect(vhost: &TestVhost) -> Arc<dyn Bus> {
    let config = AmqpConfig { url: vhost.url().into(), ..AmqpConfig::default() };
    let bus = AmqpBus::start(&config, "broker").unwrap();
    eventually("the bus is connected", async || Ok(bus.is_healthy().then_some(()))).await.unwrap();
    Arc::new(bus)
}

async fn until_counted(world: &World, name: &str, least: u64) {
    eventually(name, async || Ok((world.counted(name) >= least).then_some(()))).await.unwrap();
}

fn holding() -> (Arc<Semaphore>, TestEngine) {
    let gate = Arc::new(Semaphore::new(0));
    (Arc::clone(&gate), TestEngine { gate: Some(gate), ..TestEngine::default() })
}

/// The broker stops, then its connection.
async fn stop(world: World) -> World {
    let world = world.stop().await;
    world.bus.close().await;
    world
}

#[tokio::test]
async fn a_malformed_message_becomes_a_dead_letter_and_the_worker_lives() {
    let vhost = vhost().await;
    let mut world = World::on(connect(&vhost).await, TestEngine::default());
    world.start(options());
    let mut dead = world.bus.consume(DEAD_LETTER_QUEUE, 10).await.unwrap();
    let broken = Message::json("task.wake", "store", "llm.process.normal", "no wake at all").unwrap();
    let broken_id = broken.id;
    assert!(world.bus.publish(LLM_DIRECT, vec![broken]).await.unwrap().is_empty());
    let id = world.store.submit("content_generation", &World::input("fine")).await;
    world.store.until_status(&id, "completed").await;
    let letter = tokio::time::timeout(Duration::from_secs(60), dead.recv()).await.unwrap().unwrap();
    assert_eq!(letter.message.id, broken_id);
    letter.ack().await.unwrap();
    stop(world).await;
}

#[tokio::test]
async fn two_brokers_share_the_work() {
    let vhost = vhost().await;
    let (gate, engine) = holding();
    let mut one = World::on(connect(&vhost).await, engine);
    let mut two = one.beside(TestEngine { gate: Some(Arc::clone(&gate)), ..TestEngine::default() });
    two.bus = connect(&vhost).await;
    one.start(WorkerOptions { slots: 2, ..options() });
    two.start(WorkerOptions { slots: 2, ..options() });
    let mut ids = Vec::new();
    for _ in 0..40 {
        ids.push(one.store.submit("content_generation", &World::input("hold")).await);
    }
    one.until_engine_started(2).await;
    two.until_engine_started(2).await;
    gate.add_permits(40);
    for id in &ids {
        let row = one.store.until_status(id, "completed").await;
        assert_eq!((row.effects, row.task.attempts), (vec![1], 1));
    }
    stop(two).await;
    let one = stop(one).await;
    assert_eq!(connect(&vhost).await.depth(PROCESS_QUEUE).await, Some(0));
    drop(one);
}

#[tokio::test]
async fn a_full_broker_does_not_keep_work_from_an_idle_one() {
    let vhost = vhost().await;
    let mut full = World::on(connect(&vhost).await, TestEngine::default());
    full.start(WorkerOptions { slots: 2, ..options() });
    for _ in 0..4 {
        full.store.submit("content_generation", &World::input("hang")).await;
    }
    full.until_engine_started(2).await;
    // All messages are in its hands.
    full.until_depth(PROCESS_QUEUE, 0).await;
    let mut idle = full.beside(TestEngine::default());
    idle.bus = connect(&vhost).await;
    idle.start(WorkerOptions { slots: 2, steal: Duration::from_millis(100), ..options() });
    idle.until_engine_started(2).await;
    assert_eq!((full.engine.started.load(Ordering::SeqCst), idle.counted("broker_deliveries_total")), (2, 0));
    idle.crash().await;
    full.crash().await;
}

#[tokio::test]
async fn after_its_queue_was_deleted_a_broker_consumes_again() {
    let vhost = vhost().await;
    let mut world = World::on(connect(&vhost).await, TestEngine::default());
    world.start(options());
    let id = world.store.submit("content_generation", &World::input("fine")).await;
    world.store.until_status(&id, "completed").await;
    vhost.delete_queue(PROCESS_QUEUE).await.unwrap();
    eventually("the broker declares it again", async || Ok(vhost.queue(PROCESS_QUEUE).await?.map(|_| ())))
        .await
        .unwrap();
    let id = world.store.submit("content_generation", &World::input("fine")).await;
    assert_eq!(world.store.until_status(&id, "completed").await.effects, [1]);
    stop(world).await;
}

#[tokio::test]
async fn tasks_run_while_the_connection_is_cut_and_messages_are_taken_after_it() {
    let vhost = vhost().await;
    let mut world = World::on(connect(&vhost).await, TestEngine::default());
    world.start(WorkerOptions { steal: Duration::from_millis(100), ..options() });
    let id = world.store.submit("content_generation", &World::input("fine")).await;
    world.store.until_status(&id, "completed").await;
    // The server lists a connection only after a moment.
    eventually("the connections are closed", async || {
        let closed = vhost.close_connections().await?;
        let id = world.store.add("content_generation", "normal", &World::input("fine"));
        world.store.until_status(&id, "completed").await;
        Ok((closed > 0).then_some(()))
    })
    .await
    .unwrap();
    let before = world.counted("broker_deliveries_total");
    eventually("old news can be sent", async || Ok(world.store.try_wake(&id).await.then_some(()))).await.unwrap();
    until_counted(&world, "broker_deliveries_total", before + 1).await;
    assert_eq!(world.store.row(&id).effects, [1]);
    stop(world).await;
}

#[tokio::test]
async fn while_the_store_is_away_nothing_is_acknowledged() {
    let vhost = vhost().await;
    let mut world = World::on(connect(&vhost).await, TestEngine::default());
    world.start(WorkerOptions { lease: Duration::from_secs(1), ..options() });
    world.store.away.store(true, Ordering::SeqCst);
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(world.store.submit("content_generation", &World::input("fine")).await);
    }
    until_counted(&world, "broker_deliveries_total", 1).await;
    // It gives up and gives back.
    world.until_depth(PROCESS_QUEUE, 3).await;
    world.store.away.store(false, Ordering::SeqCst);
    for id in &ids {
        assert_eq!(world.store.until_status(id, "completed").await.effects, [1]);
    }
    stop(world).await;
}

#[tokio::test]
async fn a_cancellation_reaches_the_broker_that_runs_the_task() {
    let vhost = vhost().await;
    let mut world = World::on(connect(&vhost).await, TestEngine::default());
    // With such a lease only the event can tell.
    world.start(WorkerOptions { lease: Duration::from_secs(3_600), ..options() });
    let id = world.store.submit("content_generation", &World::input("hang")).await;
    world.until_engine_started(1).await;
    world.store.cancel(&id).await;
    tokio::time::timeout(Duration::from_secs(60), world.engine.aborts.notified()).await.expect("the event is heard");
    stop(world).await;
}

#[tokio::test]
async fn stopping_leaves_every_message_to_the_brokers_that_stay() {
    let vhost = vhost().await;
    // The store has a connection of its own.
    let mut leaving = World::on(connect(&vhost).await, TestEngine::default());
    leaving.bus = connect(&vhost).await;
    leaving.start(WorkerOptions { slots: 2, drain: Duration::from_millis(100), ..options() });
    let mut ids = Vec::new();
    for _ in 0..6 {
        ids.push(leaving.store.submit("content_generation", &World::input("hang")).await);
    }
    leaving.until_engine_started(2).await;
    let mut staying = leaving.beside(TestEngine::default());
    staying.bus = connect(&vhost).await;
    let leaving = stop(leaving).await;
    assert_eq!(ids.iter().map(|id| leaving.store.row(id).released).sum::<u32>(), 2);
    staying.until_depth(PROCESS_QUEUE, 4).await;
    // The store wakes somebody for what was given back; the rest waits.
    staying.start(WorkerOptions { slots: 6, ..options() });
    for id in &ids {
        if staying.store.row(id).released == 1 {
            assert!(staying.store.try_wake(id).await);
        }
    }
    staying.until_engine_started(6).await;
    staying.crash().await;
}
