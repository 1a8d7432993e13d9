//! What everything else runs on goes away under load, and comes back.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;
use sker_testkit::{Outside, Plan, PostgresServer, RabbitServer, RedisServer};

use super::{canvas::Canvas, load::Load};

const CLIENTS: usize = 2;
const PAUSE: Duration = Duration::from_millis(40);
/// Enough that it is under way.
const SOME: usize = 15;

/// Brokers with short leases, so that what a fault leaves behind is taken up soon.
fn plan() -> Plan {
    Plan::default().brokers(2).with("broker", "worker.lease_ms", "3000")
}

/// Clients whose tasks are accepted, every one so far.
async fn load(canvas: &Canvas) -> Result<Load> {
    let load = Load::start(canvas, CLIENTS, PAUSE);
    load.more(SOME).await?;
    assert_eq!(load.refused()?, Vec::<String>::new(), "nothing has happened yet");
    Ok(load)
}

#[tokio::test]
async fn rabbitmq_is_killed_and_comes_back_under_load() -> Result<()> {
    let mut rabbitmq = RabbitServer::start().await?;
    let canvas = Canvas::new(Outside::shared().rabbitmq(&rabbitmq), plan()).await?;
    let load = load(&canvas).await?;

    let killed = Instant::now();
    rabbitmq.kill().await?;
    // The row is the truth, a message only a wake-up: tasks are accepted and done without it.
    load.more(SOME).await?;
    canvas.recovered("RabbitMQ killed, and away", killed).await?;
    rabbitmq.restart().await?;
    let back = Instant::now();
    canvas.recovered("RabbitMQ back after kill -9", back).await?;
    load.more(SOME).await?;
    let (accepted, refused) = load.stop().await?;
    assert_eq!(refused, Vec::<String>::new(), "nobody noticed");
    canvas.verify(&accepted).await
}

#[tokio::test]
async fn the_store_is_killed_and_comes_back_under_load() -> Result<()> {
    let mut canvas = Canvas::new(Outside::shared(), plan()).await?;
    let load = load(&canvas).await?;
    canvas.platform.stores[0].kill().await?;
    load.some_refused().await?;
    let started = Instant::now();
    canvas.platform.stores[0].restart().await?;
    canvas.recovered("store killed and started again", started).await?;
    load.more(SOME).await?;
    let (accepted, _) = load.stop().await?;
    canvas.verify(&accepted).await
}

#[tokio::test]
async fn the_store_is_restarted_in_order_under_load() -> Result<()> {
    let mut canvas = Canvas::new(Outside::shared(), plan()).await?;
    let load = load(&canvas).await?;
    let code = canvas.platform.stores[0].stop().await?;
    assert_eq!(code, Some(0), "it ended as it was told");
    let started = Instant::now();
    canvas.platform.stores[0].restart().await?;
    canvas.recovered("store stopped and started again", started).await?;
    load.more(SOME).await?;
    let (accepted, _) = load.stop().await?;
    canvas.verify(&accepted).await
}

#[tokio::test]
async fn redis_goes_away_and_comes_back_empty_under_load() -> Result<()> {
    let mut redis = RedisServer::start_volatile().await?;
    let canvas = Canvas::new(Outside::shared().redis(&redis), plan()).await?;
    let load = load(&canvas).await?;
    let killed = Instant::now();
    redis.kill().await?;
    // It holds nothing that cannot be lost: tasks are accepted and done without it.
    load.more(SOME).await?;
    canvas.recovered("Redis killed, and away", killed).await?;
    redis.restart().await?;
    let back = Instant::now();
    canvas.recovered("Redis back, empty", back).await?;
    // Who follows a channel hears that something may be missing there, and then what happens.
    canvas.follower.until("the follower is told to start over", |frame| frame["type"] == "reset").await?;
    let task = canvas.submit().await?.task;
    let is_done = |frame: &Value| frame["type"] == "ai_task.completed" && frame["data"]["id"] == *task;
    canvas.follower.until("live events again", is_done).await?;
    eprintln!("recovery: Redis back, empty: live events {} ms later", back.elapsed().as_millis());
    let (accepted, _) = load.stop().await?;
    canvas.verify_effects(&accepted).await
}

#[tokio::test]
async fn postgresql_is_killed_and_comes_back_under_load() -> Result<()> {
    let mut postgres = PostgresServer::start().await?;
    let canvas = Canvas::new(Outside::shared().postgres(&postgres), plan()).await?;
    let load = load(&canvas).await?;
    postgres.kill().await?;
    load.some_refused().await?;
    postgres.restart().await?;
    let back = Instant::now();
    canvas.recovered("PostgreSQL back after kill -9", back).await?;
    load.more(SOME).await?;
    let (accepted, _) = load.stop().await?;
    canvas.verify(&accepted).await
}
