//! The whole service: its HTTP interface, its registration, its end.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use secrecy::SecretString;
use serde_json::{Value, json};
use sker_api::{Ctx, Registry, WatchStream};
use sker_auth::{Claims, TokenKeys};
use sker_broker::{Config, Deps, build};
use sker_bus::{Bus, MemoryBus};
use sker_cache::{MemoryLog, MemoryLogOptions, Redis, RedisConfig};
use sker_error::{Error, Result};
use sker_proto::registry::{
    DeregisterRequest, DeregisterResponse, DiscoverRequest, DiscoverResponse, HeartbeatRequest, HeartbeatResponse,
    Instance, ListServicesRequest, ListServicesResponse, RegisterRequest, RegisterResponse, WatchRequest,
};
use sker_runtime::Listeners;
use sker_types::{Role, new_id};
use tokio_util::sync::CancellationToken;

use crate::support::MemoryStore;

const SECRET: &str = "a secret of the broker's own tests";

/// Remembers who registered.
#[derive(Default)]
struct Register {
    instances: Mutex<Vec<Instance>>,
}

#[async_trait]
impl Registry for Register {
    async fn register(&self, _: &Ctx, request: RegisterRequest) -> Result<RegisterResponse> {
        let instance = Instance { instance_id: new_id().to_string(), ..request.instance.unwrap_or_default() };
        self.instances.lock().unwrap().push(instance.clone());
        Ok(RegisterResponse { instance: Some(instance), ..RegisterResponse::default() })
    }

    async fn heartbeat(&self, _: &Ctx, _: HeartbeatRequest) -> Result<HeartbeatResponse> {
        Ok(HeartbeatResponse::default())
    }

    async fn deregister(&self, _: &Ctx, request: DeregisterRequest) -> Result<DeregisterResponse> {
        self.instances.lock().unwrap().retain(|instance| instance.instance_id != request.instance_id);
        Ok(DeregisterResponse::default())
    }

    async fn discover(&self, _: &Ctx, _: DiscoverRequest) -> Result<DiscoverResponse> {
        Err(Error::forbidden("the broker finds nobody"))
    }

    async fn list_services(&self, _: &Ctx, _: ListServicesRequest) -> Result<ListServicesResponse> {
        Err(Error::forbidden("the broker finds nobody"))
    }

    async fn watch(&self, _: &Ctx, _: WatchRequest) -> Result<WatchStream> {
        Err(Error::forbidden("the broker finds nobody"))
    }
}

fn token(keys: &TokenKeys, role: Role) -> String {
    keys.issue(&Claims::user(new_id(), role, new_id(), std::time::Duration::from_secs(60))).unwrap()
}

async fn get(base: &str, path: &str, token: Option<&str>) -> (u16, Value) {
    let client = reqwest::Client::builder().build().unwrap();
    let mut request = client.get(format!("{base}{path}"));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn administrators_see_queues_workers_and_tasks_and_nobody_else_does() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let data = tempfile::tempdir().unwrap();
    let mut layers = sker_broker::layers();
    for (key, value) in
        [("jwt_secret", SECRET), ("data_dir", data.path().to_str().unwrap()), ("shutdown.settle_ms", "0")]
    {
        layers.overrides.push((key.to_owned(), value.to_owned()));
    }
    let config = Config::load(&layers).unwrap();
    let keys = Arc::new(TokenKeys::hs256(&SecretString::from(SECRET)).unwrap());
    let bus: Arc<dyn Bus> = Arc::new(MemoryBus::new());
    let store = MemoryStore::new(Arc::clone(&bus));
    let registry = Arc::new(Register::default());
    // The text goes to the log in memory all the same; only its check sees that nobody is there.
    let nowhere = RedisConfig { url: "redis://127.0.0.1:1".into(), ..RedisConfig::default() };
    let deps = Deps {
        registry: registry.clone(),
        store: store.clone(),
        bus: Arc::clone(&bus),
        log: Arc::new(MemoryLog::new(1, MemoryLogOptions::default())),
        redis: Some(Redis::new(&nowhere).unwrap()),
        keys: Arc::clone(&keys),
    };
    let service = build(config, deps, Listeners::free(true).unwrap()).await.unwrap();
    let base = format!("http://{}", service.address());
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(service.run(shutdown.clone()));

    let id = store.submit("semantic_analysis", &json!({"inputs": ["Rivers rise in spring."]})).await;
    store.until_status(&id, "completed").await;

    let admin = token(&keys, Role::Admin);
    let (status, queues) = get(&base, "/api/v1/broker/queues", Some(&admin)).await;
    assert_eq!(status, 200, "{queues}");
    let normal = queues["queues"].as_array().unwrap().iter().find(|queue| queue["name"] == "llm.process.queue");
    assert_eq!(normal.unwrap()["weight"], 2);
    let (status, workers) = get(&base, "/api/v1/broker/workers", Some(&admin)).await;
    assert_eq!((status, &workers["workers"][0]["slots"]), (200, &json!(32)));
    assert_eq!((&workers["workers"][0]["bus_connected"], &workers["workers"][0]["claimed"]), (&json!(true), &json!(1)));
    assert_eq!(get(&base, "/api/v1/broker/tasks", Some(&admin)).await, (200, json!({"tasks": []})));

    let user = token(&keys, Role::User);
    for path in ["queues", "workers", "tasks"] {
        let path = format!("/api/v1/broker/{path}");
        let (status, problem) = get(&base, &path, Some(&user)).await;
        assert_eq!((status, &problem["code"]), (403, &json!("forbidden")));
        assert_eq!(get(&base, &path, None).await.0, 401);
    }
    assert_eq!(get(&base, "/health", None).await.0, 200);
    let (_, metrics) = get(&base, "/metrics", None).await;
    let metrics = metrics.as_str().unwrap().to_owned();
    assert!(metrics.contains("broker_attempts_total"), "{metrics}");

    let registered = tokio::time::timeout(std::time::Duration::from_secs(60), async {
        loop {
            if let Some(instance) = registry.instances.lock().unwrap().first() {
                return instance.clone();
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    });
    let metadata: Value = serde_json::from_str(&registered.await.unwrap().metadata_json).unwrap();
    assert_eq!(
        (&metadata["routes"][0]["path"], &metadata["routes"][0]["auth"]),
        (&json!("/api/v1/broker/*"), &json!("admin"))
    );

    // Without the bus it goes on, slower, and says so.
    bus.close().await;
    let id = store.add("semantic_analysis", "normal", &json!({"inputs": ["Rivers fall in autumn."]}));
    store.until_status(&id, "completed").await;
    let worker = get(&base, "/api/v1/broker/workers", Some(&admin)).await.1["workers"][0].clone();
    assert_eq!((&worker["bus_connected"], &worker["stolen"]), (&json!(false), &json!(1)));
    sker_testkit::eventually("the health says that the bus and Redis are away", async || {
        let health = get(&base, "/health", None).await.1;
        let is = |name, status| {
            let checks = health["checks"].as_array().unwrap();
            checks.iter().any(|check| check["name"] == name && check["status"] == status)
        };
        let told = is("store", "healthy") && is("bus", "unhealthy") && is("realtime-log", "unhealthy");
        Ok((health["status"] == "degraded" && told).then_some(()))
    })
    .await
    .unwrap();
    assert_eq!(get(&base, "/ready", None).await.0, 200);

    shutdown.cancel();
    running.await.unwrap().unwrap();
    assert!(registry.instances.lock().unwrap().is_empty(), "it says goodbye");
}
