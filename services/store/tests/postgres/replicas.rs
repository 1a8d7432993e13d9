//! Several stores on one database.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex},
};

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use futures::future::try_join_all;
use serde_json::{Value, json};
use sker_bus::{Bus, Consumer, MemoryBus, Message, topology};
use sker_testkit::{Api, eventually};
use sker_types::{TaskWake, Uuid};

use super::support::{ADMIN, Setup, TestStore, lease_of, rows};

/// A bus that notes what is published.
#[derive(Default)]
struct Recorder {
    inner: MemoryBus,
    published: Mutex<Vec<(String, Message)>>,
}

impl Recorder {
    fn on(&self, exchange: &str) -> Vec<Message> {
        let published = self.published.lock().unwrap();
        published.iter().filter(|(on, _)| on == exchange).map(|(_, message)| message.clone()).collect()
    }

    /// How often each message was published, on any exchange.
    fn times(&self) -> HashMap<(String, String, Uuid), u32> {
        let mut times = HashMap::new();
        for (exchange, message) in self.published.lock().unwrap().iter() {
            // One event shows in several channels.
            *times.entry((exchange.clone(), message.key.clone(), message.id)).or_default() += 1;
        }
        times
    }

    /// The tasks that were woken.
    fn woken(&self) -> BTreeSet<String> {
        let wakes = self.on(topology::LLM_DIRECT).into_iter();
        wakes.filter_map(|message| Some(message.parse::<TaskWake>().ok()?.task_id.to_string())).collect()
    }
}

#[async_trait]
impl Bus for Recorder {
    async fn publish(&self, exchange: &str, messages: Vec<Message>) -> sker_error::Result<Vec<Uuid>> {
        let noted: Vec<_> = messages.iter().map(|message| (exchange.to_owned(), message.clone())).collect();
        let refused = self.inner.publish(exchange, messages).await?;
        self.published.lock().unwrap().extend(noted);
        Ok(refused)
    }

    async fn consume(&self, queue: &str, prefetch: u16) -> sker_error::Result<Consumer> {
        self.inner.consume(queue, prefetch).await
    }

    async fn declare_exclusive(&self, queue_prefix: &str, exchange: &str) -> sker_error::Result<Consumer> {
        self.inner.declare_exclusive(queue_prefix, exchange).await
    }

    fn is_healthy(&self) -> bool {
        self.inner.is_healthy()
    }

    async fn depth(&self, queue: &str) -> Option<u64> {
        self.inner.depth(queue).await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

/// Two stores on one database that publish to the same bus; the first of them leads.
struct Replicas {
    bus: Arc<Recorder>,
    leader: TestStore,
    other: TestStore,
    /// The user at the one and at the other.
    users: [Api; 2],
    project: String,
}

impl Replicas {
    async fn start() -> Result<Self> {
        let bus = Arc::new(Recorder::default());
        let setup = Setup::new().await?.with_bus(bus.clone());
        let leader = setup.clone().start().await?;
        let user = leader.http.sign_up().await?;
        let project = user.create_project("canvas").await?;
        // Whoever relays leads.
        eventually("the first store leads", async || Ok((!bus.on(topology::EVENTS_TOPIC).is_empty()).then_some(())))
            .await?;
        let other = setup.start().await?;
        let there = other.http.with_token(user.token().context("signed in")?);
        Ok(Replicas { bus, leader, other, users: [user, there], project })
    }

    async fn task(&self, at: usize) -> Result<String> {
        make_task(&self.users[at], &self.project).await
    }
}

async fn make_task(user: &Api, project: &str) -> Result<String> {
    let body = json!({"type": "semantic_analysis", "input_data": {"inputs": ["One sentence."]}});
    user.post(&format!("/api/v1/projects/{project}/ai-tasks"), &body).await?.expect(201)?.string("id")
}

async fn until_queued(user: &Api, task: &str) -> Result<Value> {
    eventually(&format!("task {task} is queued"), async || {
        let now = user.get(&format!("/api/v1/ai-tasks/{task}")).await?.expect(200)?.body;
        Ok((now["status"] == "queued").then_some(now))
    })
    .await
}

#[tokio::test]
async fn what_two_replicas_write_is_published_once() -> Result<()> {
    let replicas = Replicas::start().await?;
    let mut tasks = Vec::new();
    for number in 0..40 {
        let user = &replicas.users[number % 2];
        user.create_node(&replicas.project, &format!("node {number}"), "x").await?;
        tasks.push(replicas.task(number % 2).await?);
    }
    for task in &tasks {
        // Each sees what the other has done.
        until_queued(&replicas.users[0], task).await?;
        until_queued(&replicas.users[1], task).await?;
    }
    eventually("every event is published", async || {
        let kinds: Vec<String> = replicas.bus.on(topology::EVENTS_TOPIC).into_iter().map(|event| event.kind).collect();
        let count = |kind: &str| kinds.iter().filter(|other| *other == kind).count();
        Ok((count("node.created") == 40 && count("ai_task.queued") == 40).then_some(()))
    })
    .await?;
    assert_eq!(replicas.bus.woken(), tasks.into_iter().collect());
    assert_eq!(replicas.bus.on(topology::LLM_DIRECT).len(), 40, "no second wake-up");
    for (message, times) in replicas.bus.times() {
        assert_eq!(times, 1, "{message:?}");
    }
    Ok(())
}

#[tokio::test]
async fn when_the_leader_stops_the_other_takes_over() -> Result<()> {
    let replicas = Replicas::start().await?;
    let claimed = replicas.task(1).await?;
    until_queued(&replicas.users[1], &claimed).await?;
    let lease = lease_of(&super::support::Broker::new(replicas.other.api.clone(), "b").claim(&claimed).await?);
    let Replicas { bus, leader, other, users: [_, user], project } = replicas;
    let stopping = tokio::spawn(leader.stop());
    let mut tasks = BTreeSet::new();
    for _ in 0..30 {
        tasks.insert(make_task(&user, &project).await?);
    }
    stopping.await??;
    for task in &tasks {
        until_queued(&user, task).await?;
    }
    eventually("every task is woken", async || Ok(bus.woken().is_superset(&tasks).then_some(()))).await?;
    for (message, times) in bus.times() {
        assert_eq!(times, 1, "{message:?}");
    }
    // The new leader has taken nothing away from whoever works.
    let broker = super::support::Broker::new(other.api.clone(), "b");
    assert_eq!(broker.renew(&lease).await?, None);
    assert!(!broker.complete(&lease, &json!({"tags": []})).await?);
    Ok(())
}

#[tokio::test]
async fn a_lease_runs_out_under_whichever_replica_leads() -> Result<()> {
    let replicas = Replicas::start().await?;
    let task = replicas.task(1).await?;
    let broker = super::support::Broker::new(replicas.other.api.clone(), "silent");
    let lost = lease_of(&broker.claim_for(&task, 300).await?);
    let Replicas { leader, other, users: [_, user], .. } = replicas;
    leader.stop().await?;
    until_queued(&user, &task).await?;
    let next = super::support::Broker::new(other.api.clone(), "next").claim(&task).await?;
    assert_eq!(next.lease_epoch, lost.lease_epoch + 1);
    Ok(())
}

#[tokio::test]
async fn stores_that_start_at_once_on_an_empty_database_agree_on_its_schema_and_administrator() -> Result<()> {
    let setup = Setup::empty().await?;
    let file = setup.path().join("admin-password");
    let setup = setup.with("admin.password", "").with("admin.password_file", &file.display().to_string());
    let stores = try_join_all((0..4).map(|_| setup.clone().start())).await?;
    let password = std::fs::read_to_string(&file)?;
    for store in &stores {
        let admin = store.http.log_in(ADMIN, password.trim()).await?;
        assert_eq!(rows(&admin.get("/api/v1/users").await?.expect(200)?)?.len(), 1);
    }
    Ok(())
}

#[tokio::test]
async fn failed_sign_ins_count_at_every_replica() -> Result<()> {
    let setup = Setup::new().await?.with("auth.failures_per_account", "3");
    let (one, two) = (setup.clone().start().await?, setup.start().await?);
    let body = json!({"email": ADMIN, "password": "guess"});
    for store in [&one, &two, &one] {
        store.http.post("/api/v1/auth/login", &body).await?.expect_problem(401, "unauthenticated")?;
    }
    for store in [&one, &two] {
        store.http.post("/api/v1/auth/login", &body).await?.expect_problem(429, "rate_limited")?;
    }
    Ok(())
}
