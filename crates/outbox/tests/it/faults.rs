use std::{
    collections::{HashMap, HashSet},
    sync::atomic::Ordering,
};

use sker_bus::topology::{EVENTS_TOPIC, LLM_DIRECT};
use sker_outbox::{BATCH, NewRow};
use sker_types::{DomainEvent, Uuid, channel, new_id};

use crate::world::{World, event, wake};

/// Rows of several aggregates, mixed: `each` events of each.
fn mixed(aggregates: &[Uuid], each: usize) -> Vec<NewRow> {
    (0..each).flat_map(|number| aggregates.iter().map(move |aggregate| event(*aggregate, number))).collect()
}

/// Each aggregate's event numbers, in the order in which they first arrived.
fn first_arrivals(world: &World) -> HashMap<Uuid, Vec<u64>> {
    let mut seen = HashSet::new();
    let mut arrivals: HashMap<Uuid, Vec<u64>> = HashMap::new();
    for message in world.bus.on(EVENTS_TOPIC) {
        if seen.insert(message.id) {
            let event: DomainEvent = message.parse().expect("an event");
            arrivals.entry(event.aggregate_id).or_default().push(event.data["number"].as_u64().expect("a number"));
        }
    }
    arrivals
}

async fn assert_nothing_lost_and_in_order(world: &World, aggregates: &[Uuid], each: u64) {
    let expected: Vec<u64> = (0..each).collect();
    let arrivals = first_arrivals(world);
    for aggregate in aggregates {
        assert_eq!(arrivals[aggregate], expected, "on the bus");
        let shown = world.channel(&channel::project(*aggregate)).await;
        let numbers: Vec<u64> = shown.iter().filter_map(|event| event.data["number"].as_u64()).collect();
        assert_eq!(numbers, expected, "in the channel: in order, none twice");
    }
    let visits = world.number("SELECT count(*) FROM visits WHERE count = 1").await;
    assert_eq!(visits, (aggregates.len() as u64 * each) as i64, "the hook took effect once per row");
}

#[tokio::test]
async fn a_bus_that_fails_every_other_time_loses_nothing_and_breaks_no_order() {
    let world = World::new().await;
    world.bus.flaky.store(true, Ordering::SeqCst);
    let aggregates: Vec<Uuid> = (0..7).map(|_| new_id()).collect();
    let _relay = world.relay();
    for chunk in mixed(&aggregates, 12).chunks(10) {
        world.write(chunk.to_vec()).await;
    }
    // Enough chunks fail here that waiting for each would take long: the rest goes once the bus is well.
    world.until(async |world| world.bus.on(EVENTS_TOPIC).len() >= 20).await;
    world.bus.flaky.store(false, Ordering::SeqCst);
    world.drained().await;
    assert_nothing_lost_and_in_order(&world, &aggregates, 12).await;
}

#[tokio::test]
async fn a_bus_that_was_down_gets_everything_when_it_is_back() {
    let world = World::new().await;
    world.bus.down.store(true, Ordering::SeqCst);
    let aggregates = [new_id(), new_id()];
    let _relay = world.relay();
    world.write(mixed(&aggregates, 150)).await;
    world
        .until(async |world| {
            world.registry.gather().iter().any(|family| {
                family.name() == "outbox_relay_failures_total" && family.get_metric()[0].get_counter().get_value() > 2.0
            })
        })
        .await;
    assert_eq!(world.unpublished().await, 300);
    world.bus.down.store(false, Ordering::SeqCst);
    world.drained().await;
    assert_nothing_lost_and_in_order(&world, &aggregates, 150).await;
}

#[tokio::test]
async fn a_relay_killed_at_any_point_loses_nothing_and_repeats_at_most_a_batch_at_a_time() {
    let world = World::new().await;
    let aggregates: Vec<Uuid> = (0..5).map(|_| new_id()).collect();
    world.write(mixed(&aggregates, 300)).await;
    let mut kills = 0;
    while world.unpublished().await > 0 {
        let (relay, _shutdown) = world.relay();
        // A different point each time, later and later so that every batch passes in the end.
        for _ in 0..(kills * 7) {
            tokio::task::yield_now().await;
        }
        if kills < 200 {
            relay.abort();
            let _ = relay.await;
        } else {
            world.drained().await;
        }
        kills += 1;
    }
    assert_nothing_lost_and_in_order(&world, &aggregates, 300).await;
    let mut times: HashMap<Uuid, u64> = HashMap::new();
    for message in world.bus.on(EVENTS_TOPIC) {
        *times.entry(message.id).or_default() += 1;
    }
    let repeated: u64 = times.values().map(|times| times - 1).sum();
    assert!(repeated <= kills * BATCH, "{repeated} repeated in {kills} kills");
    assert_eq!(times.len(), 1_500, "ids stay the same");
}

#[tokio::test]
async fn an_event_that_shows_nowhere_overtakes_none_that_waits_for_the_log() {
    let world = World::new().await;
    world.log.down.store(true, Ordering::SeqCst);
    let aggregate = new_id();
    let _relay = world.relay();
    let unseen = NewRow::event("node.updated", aggregate, Vec::new(), serde_json::json!({ "number": 1 }));
    world.write(vec![event(aggregate, 0), unseen, wake(new_id(), "normal")]).await;
    world.until(async |world| world.bus.on(LLM_DIRECT).len() == 1).await;
    assert!(world.bus.on(EVENTS_TOPIC).is_empty());
    world.log.down.store(false, Ordering::SeqCst);
    world.drained().await;
    assert_eq!(first_arrivals(&world)[&aggregate], [0, 1]);
}

#[tokio::test]
async fn a_full_queue_holds_up_only_its_own_messages() {
    let world = World::new().await;
    *world.bus.refused_key.lock().expect("no panic while held") = Some("llm.process.low".to_owned());
    let stuck: Vec<Uuid> = (0..BATCH + 50).map(|_| new_id()).collect();
    world.write(stuck.iter().map(|task| wake(*task, "low")).collect()).await;
    let (urgent, node) = (new_id(), new_id());
    world.write(vec![wake(urgent, "urgent"), event(node, 0), event(stuck[0], 0)]).await;
    let _relay = world.relay();
    world.until(async |world| world.unpublished().await == stuck.len() as i64).await;
    assert_eq!(world.bus.on(LLM_DIRECT).len(), 1, "the urgent one");
    assert_eq!(world.bus.on(EVENTS_TOPIC).len(), 2, "also that of a task whose wake-up is held up");

    *world.bus.refused_key.lock().expect("no panic while held") = None;
    world.drained().await;
    let woken: Vec<Uuid> = world
        .bus
        .on(LLM_DIRECT)
        .iter()
        .skip(1)
        .map(|message| {
            let body: serde_json::Value = message.parse().expect("JSON");
            body["task_id"].as_str().and_then(sker_types::parse_id).expect("a task")
        })
        .collect();
    assert_eq!(woken, stuck, "in the order in which they were written");
}

#[tokio::test]
async fn an_event_that_is_refused_lets_none_of_its_aggregate_pass() {
    let world = World::new().await;
    *world.bus.refused_key.lock().expect("no panic while held") = Some("node.created".to_owned());
    let node = new_id();
    let kinds = ["node.created", "node.updated", "node.deleted"];
    let rows = kinds.map(|kind| NewRow::event(kind, node, vec![channel::project(node)], serde_json::json!({})));
    world.write(rows.to_vec()).await;
    let _relay = world.relay();
    world
        .until(async |world| {
            world.registry.gather().iter().any(|family| {
                family.name() == "outbox_refused_total" && family.get_metric()[0].get_counter().get_value() > 0.0
            })
        })
        .await;
    assert!(world.bus.on(EVENTS_TOPIC).is_empty());
    *world.bus.refused_key.lock().expect("no panic while held") = None;
    world.drained().await;
    let heard: Vec<String> = world.bus.on(EVENTS_TOPIC).into_iter().map(|message| message.kind).collect();
    assert_eq!(heard, kinds);
}

#[tokio::test]
async fn with_the_log_away_work_goes_on_and_events_wait() {
    let world = World::new().await;
    world.log.down.store(true, Ordering::SeqCst);
    let aggregates = [new_id()];
    world.write(mixed(&aggregates, 250)).await;
    world.write(vec![wake(new_id(), "normal")]).await;
    let _relay = world.relay();
    world.until(async |world| world.bus.on(LLM_DIRECT).len() == 1).await;
    assert!(world.bus.on(EVENTS_TOPIC).is_empty());
    world.log.down.store(false, Ordering::SeqCst);
    world.drained().await;
    assert_eq!(first_arrivals(&world)[&aggregates[0]], (0..250).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_hook_that_fails_undoes_the_mark_and_what_it_wrote() {
    let world = World::new().await;
    world.hook.fails.store(true, Ordering::SeqCst);
    let aggregate = new_id();
    world.write(vec![event(aggregate, 0)]).await;
    let _relay = world.relay();
    world.until(async |world| world.bus.on(EVENTS_TOPIC).len() >= 3).await;
    assert_eq!(world.unpublished().await, 1);
    assert_eq!(world.number("SELECT count(*) FROM visits").await, 0);
    world.hook.fails.store(false, Ordering::SeqCst);
    world.drained().await;
    assert_nothing_lost_and_in_order(&world, &[aggregate], 1).await;
}

#[tokio::test]
async fn two_relays_on_one_database_lose_nothing_and_take_effect_once() {
    let world = World::new().await;
    let aggregates: Vec<Uuid> = (0..5).map(|_| new_id()).collect();
    world.write(mixed(&aggregates, 100)).await;
    let _relays = (world.relay(), world.relay());
    world.drained().await;
    assert_nothing_lost_and_in_order(&world, &aggregates, 100).await;
}

#[tokio::test]
async fn a_log_that_does_not_answer_holds_up_no_work() {
    let world = World::new().await;
    world.log.stuck.store(true, Ordering::SeqCst);
    let aggregates = [new_id()];
    // Also in the batch that finds out.
    world.write(mixed(&aggregates, 20)).await;
    world.write(vec![wake(new_id(), "normal")]).await;
    let (relay, _shutdown) = world.relay();
    world.until(async |world| world.bus.on(LLM_DIRECT).len() == 1).await;
    let failures = world.registry.gather().into_iter().find(|family| family.name() == "outbox_relay_failures_total");
    let failures = failures.expect("the metric").get_metric()[0].get_counter().get_value();
    assert_eq!(failures, 0.0, "the log has not even been given up");
    assert!(world.bus.on(EVENTS_TOPIC).is_empty());
    relay.abort();
    let _ = relay.await;
    world.log.stuck.store(false, Ordering::SeqCst);
    let _relay = world.relay();
    world.drained().await;
    assert_eq!(first_arrivals(&world)[&aggregates[0]], (0..20).collect::<Vec<_>>());
}
