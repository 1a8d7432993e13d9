//! What only happens on PostgreSQL, where several write at once.

use std::sync::atomic::Ordering;

use sker_bus::topology::EVENTS_TOPIC;
use sker_outbox::{BATCH, append};
use sker_types::{DomainEvent, channel, new_id};

use crate::world::{World, event};

#[tokio::test]
async fn a_row_that_is_committed_late_is_carried_and_before_those_that_follow_it() {
    let world = World::on_postgres().await;
    let late = new_id();
    // Its position is the first, though it is not to be seen yet.
    let tx = world.db.begin().await.expect("begun");
    append(&tx, vec![event(late, 0)]).await.expect("appended");
    let batch = usize::try_from(BATCH).expect("small");
    world.write((0..batch).map(|number| event(new_id(), number)).collect()).await;

    let gate = world.bus.gate.lock().await;
    let _relay = world.relay();
    // The first batch is on its way: in the log, and before the gate of the bus.
    world.until(async |world| world.log.shown.load(Ordering::SeqCst) >= batch).await;
    tx.commit().await.expect("committed");
    world.write(vec![event(late, 1)]).await;
    drop(gate);

    world.drained().await;
    let shown: Vec<u64> =
        world.channel(&channel::project(late)).await.iter().filter_map(|event| event.data["number"].as_u64()).collect();
    assert_eq!(shown, [0, 1], "in the channel");
    let heard = world.bus.on(EVENTS_TOPIC).into_iter().map(|message| message.parse().expect("an event"));
    let heard: Vec<DomainEvent> = heard.filter(|event: &DomainEvent| event.aggregate_id == late).collect();
    assert_eq!(heard.iter().map(|event| event.data["number"].as_u64()).collect::<Vec<_>>(), [Some(0), Some(1)]);
}
