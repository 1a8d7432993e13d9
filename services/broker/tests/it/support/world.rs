use std::{num::NonZeroUsize, path::Path, sync::Arc, time::Duration};

use serde_json::{Value, json};
use sker_broker::{
    app::{Broker, BrokerMetrics, Session, WorkerOptions, keep_leases, listen_for_cancellations, release_previous},
    engines::{EngineSet, local::LocalEngine},
};
use sker_bus::{Bus, MemoryBus};
use sker_cache::{MemoryLog, MemoryLogOptions, RealtimeLog};
use sker_telemetry::Metrics;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{engine::TestEngine, store::MemoryStore};

/// Four slots, and nothing but messages brings work.
pub fn options() -> WorkerOptions {
    WorkerOptions {
        slots: 4,
        lease: Duration::from_secs(15),
        steal: Duration::from_secs(3_600),
        task_timeout: Duration::from_secs(60),
        drain: Duration::from_secs(30),
        farewell: Duration::from_secs(30),
    }
}

/// A broker at work, with everything around it.
pub struct World {
    pub bus: Arc<dyn Bus>,
    pub store: Arc<MemoryStore>,
    pub log: Arc<dyn RealtimeLog>,
    /// What the broker counts.
    pub metrics: Metrics,
    pub engine: Arc<TestEngine>,
    pub broker: Option<Arc<Broker>>,
    pub data: TempDir,
    stop: CancellationToken,
    work: Option<JoinHandle<()>>,
    background: Vec<JoinHandle<()>>,
}

impl World {
    /// Everything but a broker.
    pub fn new(engine: TestEngine) -> Self {
        World::on(Arc::new(MemoryBus::new()), engine)
    }

    /// The same on another bus.
    pub fn on(bus: Arc<dyn Bus>, engine: TestEngine) -> Self {
        let store = MemoryStore::new(Arc::clone(&bus));
        let log = Arc::new(MemoryLog::new(1, MemoryLogOptions::default()));
        World::of(bus, store, log, engine)
    }

    /// A world for a second broker: the same store, bus and log.
    pub fn beside(&self, engine: TestEngine) -> Self {
        World::of(Arc::clone(&self.bus), Arc::clone(&self.store), Arc::clone(&self.log), engine)
    }

    fn of(bus: Arc<dyn Bus>, store: Arc<MemoryStore>, log: Arc<dyn RealtimeLog>, engine: TestEngine) -> Self {
        World {
            store,
            bus,
            log,
            metrics: Metrics::new("broker"),
            engine: Arc::new(engine),
            broker: None,
            data: tempfile::tempdir().unwrap(),
            stop: CancellationToken::new(),
            work: None,
            background: Vec::new(),
        }
    }

    /// With a broker of four slots.
    pub async fn working(engine: TestEngine) -> Self {
        let mut world = World::new(engine);
        world.start(options());
        world
    }

    pub fn start(&mut self, options: WorkerOptions) {
        let engines = EngineSet::new(Arc::new(LocalEngine::new(NonZeroUsize::MIN))).with(self.engine.clone());
        let session = self.session(self.data.path());
        let connections = (self.store.clone() as _, self.bus.clone(), self.log.clone());
        // Counts anew with every start.
        self.metrics = Metrics::new("broker");
        let metrics = BrokerMetrics::new(&self.metrics);
        let broker = Arc::new(Broker::new(options, Arc::clone(&session), engines, connections, metrics));
        let stop = self.stop.clone();
        self.background = vec![
            tokio::spawn(keep_leases(Arc::clone(&broker), stop.child_token())),
            tokio::spawn(listen_for_cancellations(self.bus.clone(), Arc::clone(broker.running()), stop.child_token())),
            tokio::spawn(release_previous(self.store.clone(), session, stop.child_token())),
        ];
        self.work = Some(tokio::spawn(Arc::clone(&broker).work(stop)));
        self.broker = Some(broker);
    }

    fn session(&self, directory: &Path) -> Arc<Session> {
        Arc::new(Session::begin(directory).unwrap())
    }

    /// Input for the engine of the tests.
    pub fn input(text: &str) -> Value {
        json!({"inputs": [text], "engine": "test"})
    }

    /// Waits until the engine of the tests has begun so many attempts.
    pub async fn until_engine_started(&self, attempts: u32) {
        let started = async {
            while self.engine.started.load(std::sync::atomic::Ordering::SeqCst) < attempts {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), started).await.expect("the engine starts");
    }

    /// What one of the broker's own metrics says, summed over its labels.
    pub fn counted(&self, name: &str) -> u64 {
        let text = self.metrics.encode();
        let values = text.lines().filter(|line| line.starts_with(name)).filter_map(|line| line.rsplit(' ').next());
        values.map(|value| value.parse::<f64>().unwrap() as u64).sum()
    }

    /// Waits until a queue holds so many messages that nobody has.
    pub async fn until_depth(&self, queue: &str, depth: u64) {
        let mut last = None;
        let reached = async {
            loop {
                last = self.bus.depth(queue).await;
                if last == Some(depth) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let reached = tokio::time::timeout(Duration::from_secs(60), reached).await;
        assert!(reached.is_ok(), "{queue} should hold {depth}, not {last:?}");
    }

    pub fn begin_stop(&self) {
        self.stop.cancel();
    }

    /// Stops the broker in order.
    pub async fn stop(mut self) -> Self {
        self.stop.cancel();
        let work = self.work.take().unwrap();
        tokio::time::timeout(Duration::from_secs(60), work).await.expect("the broker stops").unwrap();
        for task in std::mem::take(&mut self.background) {
            task.await.unwrap();
        }
        self.broker = None;
        self
    }

    /// The broker is gone from one moment to the next, as after a SIGKILL.
    pub async fn crash(&mut self) {
        for task in self.background.drain(..).chain(self.work.take()) {
            task.abort();
            let _ = task.await;
        }
        self.broker = None;
    }
}
