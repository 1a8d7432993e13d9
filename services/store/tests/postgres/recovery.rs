//! What the store depends on is killed and comes back, or the store is killed itself: it goes on by itself and nothing that
//! was accepted is lost.

use std::{collections::BTreeSet, sync::Arc};

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use sker_bus::{AmqpBus, AmqpConfig, Bus, topology};
use sker_cache::{Redis, RedisCache, RedisConfig, RedisLog, RedisLogOptions};
use sker_testkit::{
    Api, Launch, PATIENCE, PostgresServer, Program, RedisServer, TestDatabase, TestVhost, eventually, free_port,
    postgres_database, rabbitmq_vhost, redis_prefix, redis_url,
};
use sker_types::{ChannelEvent, TaskWake};
use tempfile::TempDir;

use super::support::{ADMIN, PASSWORD, Setup, World};

/// Whether a check in `/health` has a status.
async fn check_is(api: &Api, check: &str, status: &str) -> Result<bool> {
    let health = api.get("/health").await?.expect(200)?;
    let checks = health.body["checks"].as_array().context("checks")?;
    Ok(checks.iter().any(|found| found["name"] == check && found["status"] == status))
}

async fn is_ready(api: &Api) -> bool {
    api.get("/ready").await.is_ok_and(|answer| answer.status == 200)
}

#[tokio::test]
async fn a_database_that_is_killed_and_restarted_is_used_again() -> Result<()> {
    let mut server = PostgresServer::start().await?;
    let setup = Setup::on_url(&server.url(), None)?.with("database.acquire_timeout_ms", "1000");
    let world = World::of(setup).await?;
    let kept = world.node("kept").await?;
    let before = world.queued_task(json!({})).await?;

    server.kill().await?;
    let refused = world.user.post(&world.path("/nodes"), &json!({"title": "refused"})).await?;
    refused.expect_problem(503, "unavailable")?;
    world.user.get(&format!("/api/v1/nodes/{kept}")).await?.expect_problem(503, "unavailable")?;
    eventually("it is not ready", async || Ok((!is_ready(&world.store.http).await).then_some(()))).await?;
    assert!(check_is(&world.store.http, "database", "unhealthy").await?);

    server.restart().await?;
    eventually("it is ready again", async || Ok(is_ready(&world.store.http).await.then_some(()))).await?;
    assert_eq!(world.node_now(&kept).await?["title"], "kept");
    let node = world.node("after").await?;
    let task = world.queued_task(json!({"node_id": node})).await?;
    for task in [&before, &task] {
        world.broker("b").claim(task).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_store_that_starts_before_its_database_waits_for_it() -> Result<()> {
    let mut server = PostgresServer::start().await?;
    server.kill().await?;
    let setup = Setup::on_url(&server.url(), None)?;
    let (store, restarted) = tokio::join!(setup.start(), server.restart());
    restarted?;
    store?.admin().await?;
    Ok(())
}

#[tokio::test]
async fn with_redis_away_work_goes_on_and_events_follow_in_order_when_it_is_back() -> Result<()> {
    let mut server = RedisServer::start().await?;
    let redis = Redis::new(&RedisConfig { url: server.url().into(), timeout_ms: 500, ..RedisConfig::default() })?;
    let mut setup = Setup::new().await?;
    setup.log = Arc::new(RedisLog::new(redis.clone(), RedisLogOptions::default()));
    setup.cache = Arc::new(RedisCache::new(redis));
    let world = World::of(setup).await?;
    let mut told = world.store.setup.bus.declare_exclusive("events.websocket.", topology::REALTIME_FANOUT).await?;
    let node = world.node("first").await?;
    // What gateways hear of the node, which is what stands in its project's channel: versions in order.
    let channel = format!("project:{}", world.project);
    let mut next = async || -> Result<(i64, u64)> {
        loop {
            let delivery = tokio::time::timeout(PATIENCE, told.recv()).await.context("nothing is told")?;
            let delivery = delivery.context("the queue is gone")?;
            let event: ChannelEvent = delivery.message.parse()?;
            delivery.ack().await?;
            if event.channel == channel && event.data["id"] == node {
                return Ok((event.data["version"].as_i64().context("a version")?, event.seq));
            }
        }
    };
    let (version, mut seq) = next().await?;
    assert_eq!(version, 1);

    server.kill().await?;
    for number in 0..10 {
        let path = format!("/api/v1/nodes/{node}");
        world.user.patch(&path, &json!({"title": format!("{number}")}), None).await?.expect(200)?;
    }
    // Work is handed out, and people sign in.
    let task = world.queued_task(json!({})).await?;
    world.broker("b").claim(&task).await?;
    world.store.http.log_in(ADMIN, PASSWORD).await?;
    eventually("the check fails", async || Ok(check_is(&world.store.http, "cache", "unhealthy").await?.then_some(())))
        .await?;
    assert!(is_ready(&world.store.http).await, "it can do without");

    server.restart().await?;
    for expected in 2..=11 {
        let (version, its) = next().await?;
        assert_eq!(version, expected, "every event follows, in order");
        assert!(its > seq, "numbers grow, also when Redis has lost its data");
        seq = its;
    }
    Ok(())
}

/// What `sker-store` needs to run as a program of its own.
struct Surroundings {
    home: TempDir,
    database: TestDatabase,
    vhost: TestVhost,
    redis_prefix: String,
    password: String,
}

struct Running {
    program: Program,
    http: Api,
}

impl Surroundings {
    async fn new() -> Result<Self> {
        Ok(Surroundings {
            home: tempfile::tempdir()?,
            database: postgres_database("programs", async |_: &str| Ok(())).await?,
            vhost: rabbitmq_vhost().await?,
            redis_prefix: redis_prefix(),
            password: PASSWORD.to_owned(),
        })
    }

    /// Starts a store and waits until it is ready.
    async fn start(&self) -> Result<Running> {
        let (http, grpc) = (free_port()?, free_port()?);
        let mut program = Launch::new("sker-store", self.home.path())
            .env("JWT_SECRET", "Yk3-vTn8pQz5rWx2LdHs7JmBc0GfAeUo")
            .env("DATABASE_URL", self.database.url())
            .env("RABBITMQ_URL", self.vhost.url())
            .env("REDIS_URL", &redis_url()?)
            .env("SKER_STORE__REDIS__KEY_PREFIX", &self.redis_prefix)
            // Nobody is there, and nobody is needed.
            .env("REGISTRY_GRPC_URL", "http://127.0.0.1:9")
            .env("STORE_PORT", &http.to_string())
            .env("STORE_GRPC_PORT", &grpc.to_string())
            .env("SKER_ADMIN_EMAIL", ADMIN)
            .env("SKER_ADMIN_PASSWORD", &self.password)
            .start()?;
        let http = Api::new(&format!("http://127.0.0.1:{http}"))?;
        let ready = eventually("the store is ready", async || {
            if program.has_ended()? {
                bail!("it ended while it started");
            }
            Ok(is_ready(&http).await.then_some(()))
        })
        .await;
        ready.with_context(|| program.output())?;
        Ok(Running { program, http })
    }
}

#[tokio::test]
async fn a_store_that_is_killed_while_it_leads_is_replaced_and_loses_nothing() -> Result<()> {
    let surroundings = Surroundings::new().await?;
    let bus = AmqpBus::start(&AmqpConfig { url: surroundings.vhost.url().into(), ..AmqpConfig::default() }, "test")?;
    let mut leader = surroundings.start().await?;
    let user = leader.http.sign_up().await?;
    let project = user.create_project("canvas").await?;
    let path = format!("/api/v1/projects/{project}/ai-tasks");
    let body = json!({"type": "semantic_analysis", "input_data": {"inputs": ["One sentence."]}});
    let first = user.post(&path, &body).await?.expect(201)?.string("id")?;
    let queued = async |user: &Api, task: &str| -> Result<Option<()>> {
        let now = user.get(&format!("/api/v1/ai-tasks/{task}")).await?.expect(200)?;
        Ok((now.body["status"] == "queued").then_some(()))
    };
    eventually("the first store leads", async || queued(&user, &first).await).await?;

    let other = surroundings.start().await?;
    let there = other.http.with_token(user.token().context("signed in")?);
    // Both take what comes, and one of them dies of it.
    let mut accepted = BTreeSet::from([first]);
    for number in 0..60 {
        if number == 30 {
            leader.program.kill().await?;
        }
        let at = if number % 2 == 0 && number < 30 { &user } else { &there };
        accepted.insert(at.post(&path, &body).await?.expect(201)?.string("id")?);
    }
    for task in &accepted {
        eventually(&format!("task {task} is queued"), async || queued(&there, task).await).await?;
    }

    let mut woken = BTreeSet::new();
    let mut wakes =
        eventually("RabbitMQ is reached", async || Ok(bus.consume(topology::PROCESS_QUEUE, 32).await.ok())).await?;
    while !woken.is_superset(&accepted) {
        let delivery = tokio::time::timeout(PATIENCE, wakes.recv()).await.context("no wake-up came")?;
        let delivery = delivery.context("the queue is gone")?;
        woken.insert(delivery.message.parse::<TaskWake>()?.task_id.to_string());
        delivery.ack().await?;
    }
    bus.close().await;
    Ok(())
}

#[tokio::test]
async fn a_store_that_is_told_to_stop_ends_well() -> Result<()> {
    let surroundings = Surroundings::new().await?;
    let mut store = surroundings.start().await?;
    store.http.sign_up().await?;
    store.program.signal(sker_testkit::Signal::SIGTERM)?;
    assert_eq!(store.program.wait(PATIENCE).await?, Some(0), "{}", store.program.output());
    assert!(!store.program.output().contains(&surroundings.password), "no secret is logged");
    Ok(())
}
