use sea_orm::ConnectionTrait;
use sker_types::new_id;

use crate::world::{World, event};

#[tokio::test]
async fn what_was_published_over_an_hour_ago_is_pruned() {
    let world = World::new().await;
    world.write(vec![event(new_id(), 0), event(new_id(), 1)]).await;
    let (relay, shutdown) = world.relay();
    world.drained().await;
    shutdown.cancel();
    relay.await.expect("it stopped");
    let back_dated = "UPDATE outbox SET published_at = '2020-01-01T00:00:00+00:00' WHERE position = 1";
    world.db.write().execute_unprepared(back_dated).await.expect("back-dated");
    let _relay = world.relay();
    world.until(async |world| world.number("SELECT count(*) FROM outbox").await == 1).await;
    assert_eq!(world.number("SELECT position FROM outbox").await, 2);
}

#[tokio::test]
async fn beyond_ten_thousand_rows_the_oldest_published_ones_are_pruned() {
    let world = World::new().await;
    let fill = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10500) \
        INSERT INTO outbox (id, key, kind, aggregate_id, channels, data, created_at, published_at) \
        SELECT randomblob(16), 'k', 'k', randomblob(16), '[]', '{}', t, t FROM (SELECT i, \
        strftime('%Y-%m-%dT%H:%M:%S', 'now') || printf('.%06d+00:00', i) AS t FROM n)";
    world.db.write().execute_unprepared(fill).await.expect("filled");
    let _relay = world.relay();
    world.until(async |world| world.number("SELECT count(*) FROM outbox").await == 10_000).await;
    assert_eq!(world.number("SELECT min(position) FROM outbox").await, 501);
}

#[tokio::test]
async fn a_position_is_never_given_twice() {
    let world = World::new().await;
    world.write(vec![event(new_id(), 0)]).await;
    world.db.write().execute_unprepared("DELETE FROM outbox").await.expect("deleted");
    world.write(vec![event(new_id(), 1)]).await;
    assert_eq!(world.number("SELECT position FROM outbox").await, 2);
}

#[tokio::test]
async fn metrics_show_what_waits_and_for_how_long() {
    let world = World::new().await;
    world.bus.down.store(true, std::sync::atomic::Ordering::SeqCst);
    world.write(vec![event(new_id(), 0), event(new_id(), 1)]).await;
    let back_dated = "UPDATE outbox SET created_at = '2020-01-01T00:00:00+00:00' WHERE position = 1";
    world.db.write().execute_unprepared(back_dated).await.expect("back-dated");
    let _relay = world.relay();
    let gauge = |world: &World, name: &str| {
        let families = world.registry.gather();
        let family = families.iter().find(|family| family.name() == name).expect("the metric");
        family.get_metric()[0].get_gauge().get_value()
    };
    world.until(async |world| gauge(world, "outbox_pending_rows") == 2.0).await;
    assert!(gauge(&world, "outbox_lag_seconds") > 1e8, "years");
    world.bus.down.store(false, std::sync::atomic::Ordering::SeqCst);
    world
        .until(async |world| gauge(world, "outbox_pending_rows") == 0.0 && gauge(world, "outbox_lag_seconds") == 0.0)
        .await;
}
