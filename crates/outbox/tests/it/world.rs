//! A database with an outbox, a bus and a log that fail when told to, and a relay between them.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use sea_orm_migration::{MigrationTrait, MigratorTrait};
use sker_bus::{Bus, Consumer, MemoryBus, Message};
use sker_cache::{MemoryLog, MemoryLogOptions, NewEvent, RealtimeLog, Replay};
use sker_db::{Db, DbConfig, Transaction};
use sker_error::{Error, Result};
use sker_outbox::{NewRow, Outbox, OutboxRow, Relay, RelayHook, RelayMetrics, append};
use sker_testkit::{TestDatabase, postgres_database};
use sker_types::{ChannelEvent, Uuid};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long a test waits for what must happen before it gives up.
pub const PATIENCE: Duration = Duration::from_secs(30);

struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![sker_outbox::migration()]
    }
}

/// A bus that notes what it took, and fails or refuses when told to.
#[derive(Default)]
pub struct TestBus {
    inner: MemoryBus,
    /// Every other publish fails; every other of these after its messages were taken.
    pub flaky: AtomicBool,
    pub down: AtomicBool,
    /// Messages with this key are refused.
    pub refused_key: Mutex<Option<String>>,
    pub taken: Mutex<Vec<(String, Message)>>,
    /// While it is locked, nothing is published.
    pub gate: tokio::sync::Mutex<()>,
    calls: AtomicUsize,
}

impl TestBus {
    /// What was taken on an exchange, in order, repetitions included.
    pub fn on(&self, exchange: &str) -> Vec<Message> {
        let taken = self.taken.lock().expect("no panic while held");
        taken.iter().filter(|(on, _)| on == exchange).map(|(_, message)| message.clone()).collect()
    }
}

#[async_trait]
impl Bus for TestBus {
    async fn publish(&self, exchange: &str, messages: Vec<Message>) -> Result<Vec<Uuid>> {
        drop(self.gate.lock().await);
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let fails = self.flaky.load(Ordering::SeqCst) && call % 2 == 1;
        if self.down.load(Ordering::SeqCst) || (fails && call % 4 == 1) {
            return Err(Error::unavailable("the bus is down"));
        }
        let refused_key = self.refused_key.lock().expect("no panic while held").clone();
        let (refused, taken): (Vec<Message>, Vec<Message>) =
            messages.into_iter().partition(|message| refused_key.as_ref() == Some(&message.key));
        let mut not_taken = self.inner.publish(exchange, taken.clone()).await?;
        let taken = taken.into_iter().filter(|message| !not_taken.contains(&message.id));
        let noted = taken.map(|message| (exchange.to_owned(), message));
        self.taken.lock().expect("no panic while held").extend(noted);
        not_taken.extend(refused.iter().map(|message| message.id));
        if fails {
            return Err(Error::unavailable("the connection broke before the confirm"));
        }
        Ok(not_taken)
    }

    async fn consume(&self, queue: &str, prefetch: u16) -> Result<Consumer> {
        self.inner.consume(queue, prefetch).await
    }

    async fn declare_exclusive(&self, queue_prefix: &str, exchange: &str) -> Result<Consumer> {
        self.inner.declare_exclusive(queue_prefix, exchange).await
    }

    fn is_healthy(&self) -> bool {
        true
    }

    async fn depth(&self, queue: &str) -> Option<u64> {
        self.inner.depth(queue).await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

/// A log that fails when told to, or does not answer.
pub struct TestLog {
    inner: MemoryLog,
    pub down: AtomicBool,
    pub stuck: AtomicBool,
    /// How many events it took, repetitions included.
    pub shown: AtomicUsize,
}

#[async_trait]
impl RealtimeLog for TestLog {
    async fn append(&self, channel: &str, event: NewEvent) -> Result<ChannelEvent> {
        if self.stuck.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.down.load(Ordering::SeqCst) {
            return Err(Error::unavailable("the log is down"));
        }
        let shown = self.inner.append(channel, event).await?;
        self.shown.fetch_add(1, Ordering::SeqCst);
        Ok(shown)
    }

    async fn read(&self, channel: &str, after: u64, limit: usize) -> Result<Replay> {
        self.inner.read(channel, after, limit).await
    }

    async fn latest(&self, channel: &str) -> Result<u64> {
        self.inner.latest(channel).await
    }
}

/// A hook that counts each row's visits in the transaction, and fails when told to.
#[derive(Default)]
pub struct TestHook {
    pub fails: AtomicBool,
    /// Rows that the hook appends for each `ai_task.created` it sees.
    pub follow_up: Option<fn(&OutboxRow) -> NewRow>,
}

#[async_trait]
impl RelayHook for TestHook {
    async fn published(&self, tx: &Transaction, rows: &[OutboxRow]) -> Result<()> {
        for row in rows {
            let insert = match tx.get_database_backend() {
                DbBackend::Postgres => "INSERT INTO visits (id, count) VALUES ($1, 1)",
                _ => "INSERT INTO visits (id, count) VALUES (?, 1)",
            };
            let count = Statement::from_sql_and_values(
                tx.get_database_backend(),
                format!("{insert} ON CONFLICT (id) DO UPDATE SET count = visits.count + 1"),
                [row.id.to_string().into()],
            );
            tx.execute_raw(count).await.map_err(sker_db::db_error)?;
            if let (Some(follow_up), "ai_task.created") = (self.follow_up, row.kind.as_str()) {
                append(tx, vec![follow_up(row)]).await?;
            }
        }
        match self.fails.load(Ordering::SeqCst) {
            true => Err(Error::unavailable("the hook fails after it wrote")),
            false => Ok(()),
        }
    }
}

pub struct World {
    _directory: TempDir,
    _database: Option<TestDatabase>,
    pub db: Db,
    pub outbox: Outbox,
    pub bus: Arc<TestBus>,
    pub log: Arc<TestLog>,
    pub hook: Arc<TestHook>,
    pub registry: prometheus::Registry,
    metrics: RelayMetrics,
}

impl World {
    pub async fn new() -> Self {
        Self::with_hook(TestHook::default()).await
    }

    pub async fn with_hook(hook: TestHook) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let config = DbConfig::sqlite(directory.path().join("test.db"));
        Self::on(config, directory, None, hook).await
    }

    /// On a PostgreSQL database, where rows come to light in another order than that of their positions.
    pub async fn on_postgres() -> Self {
        let database = postgres_database("outbox", async |_: &str| Ok(())).await.expect("a database");
        let directory = tempfile::tempdir().expect("a temporary directory");
        Self::on(DbConfig::new(database.url()), directory, Some(database), TestHook::default()).await
    }

    async fn on(config: DbConfig, directory: TempDir, database: Option<TestDatabase>, hook: TestHook) -> Self {
        let db = Db::connect(&config).await.expect("a database");
        db.migrate::<Migrator>().await.expect("migrations");
        let visits = "CREATE TABLE visits (id TEXT PRIMARY KEY, count INTEGER NOT NULL)";
        db.write().execute_unprepared(visits).await.expect("a table");
        let registry = prometheus::Registry::new();
        World {
            _directory: directory,
            _database: database,
            db,
            outbox: Outbox::new(),
            bus: Arc::new(TestBus::default()),
            log: Arc::new(TestLog {
                inner: MemoryLog::new(1, MemoryLogOptions { per_channel: 10_000, ..MemoryLogOptions::default() }),
                down: AtomicBool::new(false),
                stuck: AtomicBool::new(false),
                shown: AtomicUsize::new(0),
            }),
            hook: Arc::new(hook),
            metrics: RelayMetrics::new(&registry).expect("metrics"),
            registry,
        }
    }

    /// Writes rows in a transaction of their own, and wakes the relay.
    pub async fn write(&self, rows: Vec<NewRow>) {
        let tx = self.db.begin().await.expect("begun");
        append(&tx, rows).await.expect("appended");
        tx.commit().await.expect("committed");
        self.outbox.wake();
    }

    /// Starts a relay.
    pub fn relay(&self) -> (JoinHandle<()>, CancellationToken) {
        let relay = Relay {
            db: self.db.clone(),
            outbox: self.outbox.clone(),
            bus: self.bus.clone(),
            log: self.log.clone(),
            hook: self.hook.clone(),
            metrics: self.metrics.clone(),
            source: "store".to_owned(),
        };
        let shutdown = CancellationToken::new();
        let token = shutdown.clone();
        (tokio::spawn(async move { relay.run(token).await }), shutdown)
    }

    pub async fn number(&self, sql: &str) -> i64 {
        let statement = Statement::from_string(self.db.backend(), sql);
        let row = self.db.read().query_one_raw(statement).await.expect("a query").expect("a row");
        row.try_get_by_index(0).expect("a number")
    }

    pub async fn unpublished(&self) -> i64 {
        self.number("SELECT count(*) FROM outbox WHERE published_at IS NULL").await
    }

    /// Waits until everything that was written is marked as published.
    pub async fn drained(&self) {
        self.until(async |world| world.unpublished().await == 0).await;
    }

    /// Waits until something holds.
    pub async fn until(&self, holds: impl AsyncFn(&World) -> bool) {
        let wait = async {
            while !holds(self).await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("it happens in time");
    }

    /// The events of a channel, in order.
    pub async fn channel(&self, channel: &str) -> Vec<ChannelEvent> {
        match self.log.read(channel, 0, 100_000).await.expect("the log answers") {
            Replay::Events(events) => events,
            Replay::TooOld { .. } => panic!("the log forgot"),
        }
    }
}

/// The `number`-th event of an aggregate.
pub fn event(aggregate: Uuid, number: usize) -> NewRow {
    let channels = vec![sker_types::channel::project(aggregate)];
    NewRow::event("node.updated", aggregate, channels, serde_json::json!({ "number": number }))
}

/// A wake-up for a task of a priority.
pub fn wake(task: Uuid, priority: &str) -> NewRow {
    let (exchange, key) = sker_bus::topology::work_queue("semantic_analysis", priority);
    NewRow::message(exchange, key, "task.wake", task, &serde_json::json!({ "task_id": task })).expect("a row")
}
