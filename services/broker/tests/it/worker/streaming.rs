use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures::StreamExt;
use sker_broker::app::WorkerOptions;
use sker_bus::topology::REALTIME_FANOUT;
use sker_cache::Replay;
use sker_types::{ChannelEvent, event_type};

use crate::support::{FlakyBus, TestEngine, World, options};

async fn chunks(world: &World, channel: &str) -> Vec<ChannelEvent> {
    match world.log.read(channel, 0, 100).await.unwrap() {
        Replay::Events(events) => events.into_iter().filter(|event| event.kind == event_type::TASK_CHUNK).collect(),
        Replay::TooOld { .. } => panic!("nothing is old here"),
    }
}

#[tokio::test]
async fn streamed_text_is_in_the_log_of_the_task_and_of_the_project_before_the_task_is_completed() {
    let world = World::working(TestEngine::default()).await;
    let gateway = world.bus.declare_exclusive("events.websocket.", REALTIME_FANOUT).await.unwrap();
    let id = world.store.submit("content_generation", &World::input("stream")).await;
    world.store.until_status(&id, "completed").await;
    let own = chunks(&world, &format!("task:{id}")).await;
    let text: String = own.iter().map(|event| event.data["text"].as_str().unwrap()).collect();
    assert_eq!(text, "one two three");
    for (index, event) in own.iter().enumerate() {
        assert_eq!(event.data["task_id"], id.as_str());
        assert_eq!((event.data["epoch"].as_u64(), event.data["index"].as_u64()), (Some(1), Some(index as u64)));
    }
    let projects = chunks(&world, &format!("project:{}", world.store.project_id)).await;
    assert_eq!(projects.len(), own.len());
    assert_eq!(projects[0].id, own[0].id, "the same event on both channels");

    let told: Vec<ChannelEvent> = tokio::time::timeout(
        Duration::from_secs(60),
        gateway.take(own.len() * 2).map(|delivery| delivery.message.parse().unwrap()).collect(),
    )
    .await
    .unwrap();
    assert!(own.iter().chain(&projects).all(|event| told.contains(event)));
    world.stop().await;
}

#[tokio::test]
async fn the_local_engine_streams_exactly_its_text() {
    let world = World::working(TestEngine::default()).await;
    let node = world.store.add_node(
        "Rivers",
        "# Rivers\n\nThe river rises in spring. Snow in the mountains melts and fills it. Farmers wait for the water.",
    );
    let input = serde_json::json!({"node_ids": [node]});
    let id = world.store.submit("content_fusion", &input).await;
    let output = world.store.until_status(&id, "completed").await.output.unwrap();
    let streamed: String = chunks(&world, &format!("task:{id}"))
        .await
        .iter()
        .map(|event| event.data["text"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(output["text"], streamed.as_str());
    assert_eq!(output["sources"][0]["node_id"], node.as_str());
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn text_that_does_not_go_out_neither_fails_nor_delays_the_task() {
    let bus = Arc::new(FlakyBus::default());
    let mut world = World::on(bus.clone(), TestEngine::default());
    world.start(WorkerOptions { steal: Duration::from_millis(50), ..options() });
    let id = world.store.submit("content_generation", &World::input("stream")).await;
    world.store.until_status(&id, "completed").await;
    assert_eq!(world.counted("broker_dropped_reports_total"), 0);
    bus.silent.store(true, Ordering::SeqCst);
    let id = world.store.add("content_generation", "normal", &World::input("stream"));
    // The clock is the runtime's own: it moves only by what is waited for.
    let begun = tokio::time::Instant::now();
    assert_eq!(world.store.until_status(&id, "completed").await.effects, [1]);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(world.counted("broker_dropped_reports_total"), 1);
    bus.silent.store(false, Ordering::SeqCst);
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn progress_that_the_store_does_not_take_holds_up_nothing() {
    let mut world = World::new(TestEngine::default());
    world.start(WorkerOptions { task_timeout: Duration::from_secs(3_600), ..options() });
    let id = world.store.submit("content_generation", &World::input("progress")).await;
    world.until_engine_started(1).await;
    world.store.hangs.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(60)).await;
    world.store.hangs.store(false, Ordering::SeqCst);
    let row = world.store.until(&id, "has told much", |row| row.progress.len() > 10).await;
    assert!(row.progress.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", row.progress);
    assert!(world.counted("broker_dropped_reports_total") > 0);
    world.store.cancel(&id).await;
    world.stop().await;
}
