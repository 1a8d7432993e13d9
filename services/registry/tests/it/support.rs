use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sker_api::{
    Registry,
    grpc::{ClientAuth, RegistryClient, channel},
};
use sker_auth::{Claims, ServiceTokens, TokenKeys};
use sker_registry::{Config, Deps, build, layers};
use sker_runtime::Listeners;
use sker_testkit::{Answer, Api};
use sker_types::{Role, new_id};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::backend::Place;

pub const SECRET: &str = "qx7-ZtU2rnB9kW4mLp0VaEo8sYhJcDfG";

/// A registry in this process.
pub struct Server {
    /// Without a token.
    pub api: Api,
    /// Over gRPC, as the service `tester`.
    pub grpc: RegistryClient,
    /// In this process.
    pub direct: Arc<dyn Registry>,
    stop: CancellationToken,
    running: JoinHandle<Result<()>>,
}

/// An empty database and a registry on it.
pub async fn start() -> Result<(Server, Place)> {
    start_with(&[]).await
}

/// The same with configuration.
pub async fn start_with(overrides: &[(&str, &str)]) -> Result<(Server, Place)> {
    let place = Place::new().await?;
    Ok((Server::open(&place.url(), overrides).await?, place))
}

impl Server {
    /// A registry on what stands in a database.
    pub async fn open(url: &str, overrides: &[(&str, &str)]) -> Result<Server> {
        let mut layers = layers();
        let fixed = [
            ("jwt_secret", SECRET),
            ("database.url", url),
            ("lease.scan_interval_ms", "50"),
            ("shutdown.settle_ms", "0"),
        ];
        layers.overrides =
            fixed.iter().chain(overrides).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let config = Config::load(&layers)?;
        let listeners = Listeners::free(true)?;
        let base = format!("http://{}", listeners.http_address()?);
        let grpc = format!("http://{}", listeners.grpc_address()?.context("there is a gRPC socket")?);
        let deps = Deps::connect(&config).await?;
        let service = build(config, deps, listeners).await?;
        let (direct, stop) = (service.api(), CancellationToken::new());
        let running = tokio::spawn(service.run(stop.clone()));
        let tokens = Arc::new(ServiceTokens::new(keys()?, "tester"));
        let grpc = RegistryClient::new(channel(&grpc)?, ClientAuth::new(tokens));
        Ok(Server { api: Api::new(&base)?, grpc, direct, stop, running })
    }

    /// Stops it as SIGTERM would.
    pub async fn stop(self) -> Result<()> {
        self.stop.cancel();
        self.running.await?
    }

    /// A client with a token.
    pub fn as_role(&self, role: Role) -> Result<Api> {
        let ttl = Duration::from_secs(600);
        let claims = match role {
            Role::Service => Claims::service("tester", ttl),
            _ => Claims::user(new_id(), role, new_id(), ttl),
        };
        Ok(self.api.with_token(keys()?.issue(&claims)?))
    }

    /// Registers, and answers the instance.
    pub async fn register(&self, body: &Value) -> Result<Value> {
        Ok(self.api.post("/api/v1/instances", body).await?.success()?.body)
    }

    /// Discovers a service of the group `default`.
    pub async fn discover(&self, service: &str, query: &str) -> Result<Answer> {
        self.api.get(&format!("/api/v1/services/{service}/instances{query}")).await
    }
}

pub fn keys() -> Result<Arc<TokenKeys>> {
    Ok(Arc::new(TokenKeys::hs256(&SECRET.into())?))
}

/// The least that registers.
pub fn instance(service: &str, port: u16) -> Value {
    json!({"serviceName": service, "hostAddress": "127.0.0.1", "portNumber": port})
}

/// With more fields.
pub fn instance_with(service: &str, port: u16, more: Value) -> Value {
    let mut body = instance(service, port);
    if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
        body.extend(more);
    }
    body
}

/// Ports of the instances that were found, in order.
pub fn ports(answer: &Answer) -> Vec<u64> {
    let mut ports: Vec<u64> = answer.body["instances"]
        .as_array()
        .map(|list| list.iter().filter_map(|instance| instance["portNumber"].as_u64()).collect())
        .unwrap_or_default();
    ports.sort_unstable();
    ports
}

/// A request with a tenant.
pub async fn in_tenant(
    api: &Api,
    method: reqwest::Method,
    path: &str,
    tenant: &str,
    body: Option<&Value>,
) -> Result<Answer> {
    let mut request = api.request(method, path).header("X-Tenant-Id", tenant);
    if let Some(body) = body {
        request = request.json(body);
    }
    api.send(request).await
}
