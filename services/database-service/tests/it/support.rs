use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use reqwest::{Client, Method, StatusCode};
use serde_json::Value;
use sker_auth::{Claims, TokenKeys};
use sker_database_service::{Config, Deps, build, layers};
use sker_runtime::Listeners;
use sker_types::{Role, new_id};
use sqlx::{ConnectOptions, Connection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::registration::FakeRegistry;

/// How long anything may take to come about.
const PATIENCE: Duration = Duration::from_secs(30);

pub const SECRET: &str = "qx7-ZtU2rnB9kW4mLp0VaEo8sYhJcDfG";

/// What a test service is made of.
pub struct Setup {
    pub directory: Arc<TempDir>,
    pub overrides: Vec<(String, String)>,
    pub registry: Arc<FakeRegistry>,
}

/// A service that runs until it is stopped or dropped.
pub struct TestService {
    pub setup: Setup,
    pub url: String,
    pub grpc: std::net::SocketAddr,
    client: Client,
    shutdown: CancellationToken,
    running: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Setup {
    pub fn new() -> Self {
        let setup = Setup {
            directory: Arc::new(tempfile::tempdir().unwrap()),
            overrides: Vec::new(),
            registry: Arc::new(FakeRegistry::default()),
        };
        let own = format!("sqlite://{}", setup.path("own.db").display());
        setup
            .with("jwt_secret", SECRET)
            .with("database.url", &own)
            .with("checks.interval_ms", "100")
            .with("checks.recheck_ms", "50")
            .with("shutdown.settle_ms", "0")
    }

    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.overrides.push((key.to_owned(), value.to_owned()));
        self
    }

    pub fn with_sqlite(self, name: &str, file: &str) -> Self {
        let url = format!("sqlite://{}", self.path(file).display());
        self.with_target(name, "sqlite", &url)
    }

    pub fn with_target(self, name: &str, kind: &str, url: &str) -> Self {
        self.with(&format!("targets.{name}.kind"), kind).with(&format!("targets.{name}.url"), url)
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    pub async fn start(self) -> TestService {
        let mut layers = layers();
        layers.overrides = self.overrides.clone();
        let config = Config::load(&layers).unwrap();
        let listeners = Listeners::free(true).unwrap();
        let grpc = listeners.grpc_address().unwrap().unwrap();
        let keys = Arc::new(TokenKeys::hs256(&SECRET.into()).unwrap());
        let deps = Deps { registry: self.registry.clone(), keys };
        let service = build(config, deps, listeners).await.unwrap();
        let url = format!("http://{}", service.address());
        let shutdown = CancellationToken::new();
        let running = Some(tokio::spawn(service.run(shutdown.clone())));
        // Another test of this process may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        TestService { setup: self, url, grpc, client, shutdown, running }
    }
}

impl Drop for TestService {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl TestService {
    /// Stops it and hands back what it was made of.
    pub async fn stop(mut self) -> Setup {
        self.shutdown.cancel();
        let running = self.running.take().unwrap();
        tokio::time::timeout(PATIENCE, running).await.expect("it stops in time").unwrap().unwrap();
        let setup = &self.setup;
        Setup {
            directory: setup.directory.clone(),
            overrides: setup.overrides.clone(),
            registry: setup.registry.clone(),
        }
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// Reads as an ordinary user.
    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = self.send(Method::GET, path, Some(&user()), None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    /// Writes as an administrator.
    pub async fn post(&self, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        self.send(Method::POST, path, Some(&admin()), body).await
    }

    /// Reads again and again until the answer is as wanted.
    pub async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let body = self.get(path).await;
            if wanted(&body) {
                return body;
            }
            assert!(tokio::time::Instant::now() < deadline, "{path} stays {body:#}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits for a target to have a status.
    pub async fn until_target(&self, name: &str, status: &str) -> Value {
        let body = self
            .until("/api/database/health", |body| target(body, name).is_some_and(|target| target["status"] == status))
            .await;
        target(&body, name).unwrap().clone()
    }
}

fn target<'a>(body: &'a Value, name: &str) -> Option<&'a Value> {
    body["targets"].as_array()?.iter().find(|target| target["name"] == name)
}

pub fn token(role: Role, ttl: Duration) -> String {
    let keys = TokenKeys::hs256(&SECRET.into()).unwrap();
    keys.issue(&Claims::user(new_id(), role, new_id(), ttl)).unwrap()
}

pub fn user() -> String {
    token(Role::User, Duration::from_secs(600))
}

pub fn admin() -> String {
    token(Role::Admin, Duration::from_secs(600))
}

/// A database with something in it.
pub async fn make_database(path: &Path) {
    let mut connection = SqliteConnectOptions::new().filename(path).create_if_missing(true).connect().await.unwrap();
    for sql in
        ["CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)", "INSERT INTO notes (text) VALUES ('a'), ('b')"]
    {
        sqlx::query(sql).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
}
