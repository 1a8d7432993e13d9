use std::{net::SocketAddr, sync::Arc, time::Duration};

use actix_web::web::ServiceConfig;
use sker_auth::{Claims, TokenKeys};
use sker_runtime::{
    Health, Lifecycle, Listeners, ShutdownConfig, Standard, TaskSet,
    http::{self, HttpOptions},
};
use sker_telemetry::Metrics;
use sker_types::{Role, Uuid, new_id};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes, so that a fault ends a test instead of hanging it.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn keys() -> Arc<TokenKeys> {
    Arc::new(TokenKeys::hs256(&"0123456789abcdef0123456789abcdef".into()).unwrap())
}

pub fn token(role: Role) -> (Uuid, String) {
    let user = new_id();
    (user, keys().issue(&Claims::user(user, role, new_id(), Duration::from_secs(60))).unwrap())
}

pub fn standard(health: Arc<Health>) -> Standard {
    Standard {
        service: "test",
        version: "1.2.3",
        health,
        metrics: Metrics::new("test"),
        openapi: r#"{"openapi":"3.1.0"}"#.into(),
    }
}

/// A service that runs, and how to talk to it.
pub struct Running {
    pub address: SocketAddr,
    pub health: Arc<Health>,
    pub tasks: TaskSet,
    pub shutdown: CancellationToken,
    pub client: reqwest::Client,
    pub served: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    pub async fn start(configure: impl Fn(&mut ServiceConfig) + Clone + Send + 'static) -> Self {
        let options = HttpOptions { body_limit_bytes: 4096, ..HttpOptions::default() };
        Running::start_with(options, configure, |lifecycle| lifecycle).await
    }

    pub async fn start_with(
        options: HttpOptions,
        configure: impl Fn(&mut ServiceConfig) + Clone + Send + 'static,
        more: impl FnOnce(Lifecycle) -> Lifecycle,
    ) -> Self {
        let listeners = Listeners::free(false).unwrap();
        let address = listeners.http_address().unwrap();
        let (health, tasks) = (Health::new("test", "1.2.3"), TaskSet::new());
        let standard = standard(Arc::clone(&health));
        let shutdown_config = ShutdownConfig { drain_ms: 10_000, settle_ms: 0 };
        let lifecycle = Lifecycle::new("test", Arc::clone(&health), tasks.clone(), shutdown_config)
            .server("http", move |stop| http::serve(listeners.http, options, standard, keys(), configure, stop));
        let shutdown = CancellationToken::new();
        let served = tokio::spawn(more(lifecycle).run(shutdown.clone()));
        Running { address, health, tasks, shutdown, client: client(), served }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.get(self.url(path))
    }

    pub fn post(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.post(self.url(path))
    }

    pub async fn stop(self) -> anyhow::Result<()> {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.served).await.expect("the service stops").unwrap()
    }
}

pub fn client() -> reqwest::Client {
    // Another test may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().timeout(PATIENCE).build().unwrap()
}

/// The problem in an answer, and what must be true of every problem.
pub async fn problem(response: reqwest::Response) -> sker_error::Problem {
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let status = response.status().as_u16();
    let request_id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let path = response.url().path().to_owned();
    let problem: sker_error::Problem = response.json().await.unwrap();
    assert_eq!((problem.status, &problem.request_id, &problem.instance), (status, &request_id, &path));
    problem
}
