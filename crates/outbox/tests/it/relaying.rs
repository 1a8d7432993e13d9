use sker_bus::topology::{EVENTS_TOPIC, LLM_DIRECT, REALTIME_FANOUT};
use sker_outbox::{NewRow, append};
use sker_types::{ChannelEvent, DomainEvent, channel, new_id};

use crate::world::{TestHook, World, event, wake};

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[tokio::test]
async fn an_event_reaches_the_bus_and_its_channels_under_one_id() {
    let world = World::new().await;
    let (task, project) = (new_id(), new_id());
    let channels = vec![channel::task(task), channel::project(project)];
    let row = NewRow::event("ai_task.created", task, channels, serde_json::json!({"status": "pending"}));
    world.write(vec![row.with_traceparent(Some(TRACEPARENT.to_owned()))]).await;
    let _relay = world.relay();
    world.drained().await;

    let [message] = world.bus.on(EVENTS_TOPIC).try_into().expect("one message");
    assert_eq!((message.kind.as_str(), message.key.as_str()), ("ai_task.created", "ai_task.created"));
    assert_eq!((message.source.as_str(), message.traceparent()), ("store", Some(TRACEPARENT)));
    let event: DomainEvent = message.parse().expect("a domain event");
    assert_eq!((event.id, event.aggregate_id, event.time), (message.id, task, message.time));
    assert_eq!(event.data, serde_json::json!({"status": "pending"}));

    for name in [channel::task(task), channel::project(project)] {
        let [shown] = world.channel(&name).await.try_into().expect("one event");
        assert_eq!((shown.id, shown.kind.as_str(), &shown.data), (event.id, "ai_task.created", &event.data));
        let told: Vec<ChannelEvent> =
            world.bus.on(REALTIME_FANOUT).iter().map(|told| told.parse().expect("a channel event")).collect();
        assert!(told.contains(&shown), "the gateways hear of {name}");
    }
}

#[tokio::test]
async fn a_message_is_carried_as_it_is_and_shows_nowhere() {
    let world = World::new().await;
    let task = new_id();
    world.write(vec![wake(task, "high")]).await;
    let _relay = world.relay();
    world.drained().await;
    let [message] = world.bus.on(LLM_DIRECT).try_into().expect("one message");
    assert_eq!((message.kind.as_str(), message.key.as_str()), ("task.wake", "llm.process.high"));
    let body: serde_json::Value = message.parse().expect("JSON");
    assert_eq!(body, serde_json::json!({ "task_id": task }));
    assert!(world.bus.on(REALTIME_FANOUT).is_empty());
}

#[tokio::test]
async fn a_fleeting_event_shows_in_channels_alone() {
    let world = World::new().await;
    let task = new_id();
    let progress = NewRow::realtime("ai_task.progress", task, vec![channel::task(task)], serde_json::json!({"p": 5}));
    world.write(vec![progress]).await;
    let _relay = world.relay();
    world.drained().await;
    assert_eq!(world.channel(&channel::task(task)).await.len(), 1);
    assert!(world.bus.on(EVENTS_TOPIC).is_empty());
}

#[tokio::test]
async fn what_was_rolled_back_is_never_heard_of() {
    let world = World::new().await;
    let (kept, lost) = (new_id(), new_id());
    let tx = world.db.begin().await.expect("begun");
    append(&tx, vec![event(lost, 0)]).await.expect("appended");
    tx.rollback().await.expect("rolled back");
    world.write(vec![event(kept, 0)]).await;
    let _relay = world.relay();
    world.drained().await;
    let heard: Vec<DomainEvent> =
        world.bus.on(EVENTS_TOPIC).iter().map(|message| message.parse().expect("an event")).collect();
    assert_eq!(heard.iter().map(|event| event.aggregate_id).collect::<Vec<_>>(), [kept]);
}

#[tokio::test]
async fn a_relay_that_starts_later_finds_what_was_left() {
    let world = World::new().await;
    let aggregate = new_id();
    world.write((0..450).map(|number| event(aggregate, number)).collect()).await;
    let _relay = world.relay();
    world.drained().await;
    let numbers: Vec<u64> = world
        .channel(&channel::project(aggregate))
        .await
        .iter()
        .filter_map(|event| event.data["number"].as_u64())
        .collect();
    assert_eq!(numbers, (0..450).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_running_relay_is_woken_by_a_commit() {
    let world = World::new().await;
    let _relay = world.relay();
    for number in 0..20 {
        world.write(vec![event(new_id(), number)]).await;
        world.drained().await;
    }
    assert_eq!(world.bus.on(EVENTS_TOPIC).len(), 20);
}

#[tokio::test]
async fn the_hook_sees_each_row_once_in_the_transaction_that_marks_it() {
    let follow_up = |row: &sker_outbox::OutboxRow| {
        NewRow::event("ai_task.queued", row.aggregate_id, row.channels.0.clone(), serde_json::json!({}))
    };
    let world = World::with_hook(TestHook { follow_up: Some(follow_up), ..TestHook::default() }).await;
    let task = new_id();
    let created = NewRow::event("ai_task.created", task, vec![channel::task(task)], serde_json::json!({}));
    world.write(vec![created]).await;
    let _relay = world.relay();
    world.until(async |world| world.channel(&channel::task(task)).await.len() == 2).await;
    world.drained().await;
    let kinds: Vec<String> = world.channel(&channel::task(task)).await.into_iter().map(|event| event.kind).collect();
    assert_eq!(kinds, ["ai_task.created", "ai_task.queued"]);
    assert_eq!(world.number("SELECT count(*) FROM visits WHERE count = 1").await, 2);
}

#[tokio::test]
async fn a_relay_told_to_stop_stops() {
    let world = World::new().await;
    let (relay, shutdown) = world.relay();
    world.write(vec![event(new_id(), 0)]).await;
    shutdown.cancel();
    tokio::time::timeout(crate::world::PATIENCE, relay).await.expect("it stops").expect("without a panic");
}
