use std::{io, time::Instant};

use reqwest::{Client, StatusCode, redirect};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use crate::{
    app::{Failure, Progress, Step},
    drivers::network::{self, Address, CLIENT_NAME},
};

/// RabbitMQ's HTTP API (https://www.rabbitmq.com/docs/management).
pub struct Management {
    client: Client,
    base: Url,
    user: String,
    password: SecretString,
    /// The checks that this version has; known after the first time.
    checks: Option<Checks>,
    node: Option<Node>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Checks {
    /// 4.1.1 and later.
    ReadyToServe,
    /// Before: the pieces that one is made of. The connection shows that somebody listens, the port is perhaps another
    /// one behind a forwarding; so the listener is asked for by its protocol.
    Pieces,
}

/// What is worth knowing once per connection.
pub struct Node {
    pub name: Option<String>,
    pub version: Option<String>,
    up_since: Option<Instant>,
}

impl Node {
    pub fn uptime_s(&self) -> Option<u64> {
        Some(self.up_since?.elapsed().as_secs())
    }
}

pub fn check_url(url: &str) -> Result<(), String> {
    network::address(url, &["http", "https"], &[], 15672).map(drop)
}

impl Management {
    /// Signs in as the URL says or, when it says nothing, as the AMQP connection does.
    pub fn new(url: &str, amqp: &Address) -> Result<Self, String> {
        network::choose_tls();
        let own = network::address(url, &["http", "https"], &[], 15672)?;
        let (user, password) = match own.user.as_str() {
            "" => (amqp.user.clone(), amqp.password.clone()),
            _ => (own.user, own.password),
        };
        let mut base = own.url;
        // Neither can fail for an HTTP URL. Without them no error and no log line can show them.
        let _ = base.set_username("");
        let _ = base.set_password(None);
        let client = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .user_agent(CLIENT_NAME)
            .pool_max_idle_per_host(1)
            .build()
            .map_err(|_| "no HTTP client can be made".to_owned())?;
        // What an AMQP URL leaves out is guest.
        let user = if user.is_empty() { "guest".to_owned() } else { user };
        let password = password.unwrap_or_else(|| "guest".to_owned()).into();
        Ok(Management { client, base, user, password, checks: None, node: None })
    }

    /// Whether the node is ready to serve clients.
    pub async fn check(&mut self, progress: &Progress) -> Result<(), Failure> {
        if self.checks != Some(Checks::Pieces) {
            match self.get("health/checks/ready-to-serve-clients", progress).await? {
                (StatusCode::NOT_FOUND, _) => self.checks = Some(Checks::Pieces),
                (status, body) => {
                    self.checks = Some(Checks::ReadyToServe);
                    return verdict("the node is not ready to serve clients", status, &body, progress);
                }
            }
        }
        let (status, body) = self.get("health/checks/alarms", progress).await?;
        verdict("a memory or disk alarm is on", status, &body, progress)?;
        let (status, body) = self.get("health/checks/protocol-listener/amqp091", progress).await?;
        verdict("nobody listens for AMQP", status, &body, progress)
    }

    /// Asked until it is known, since a node that has just started does not know itself; then it holds for as long as the
    /// connection does.
    pub async fn node(&mut self, progress: &Progress) -> Result<&Node, Failure> {
        let node = match self.node.take() {
            Some(node) if node.up_since.is_some() => node,
            _ => self.ask_node(progress).await?,
        };
        Ok(self.node.insert(node))
    }

    /// A user without the tag `monitoring` is told nothing, which makes these figures unavailable and no failure.
    async fn ask_node(&self, progress: &Progress) -> Result<Node, Failure> {
        let text = |body: &Value, name: &str| body[name].as_str().map(str::to_owned);
        let (_, overview) = self.get("overview?disable_stats=true&columns=rabbitmq_version,node", progress).await?;
        let name = text(&overview, "node");
        let mut up_since = None;
        if let Some(name) = &name {
            let (_, node) = self.get(&format!("nodes/{name}?columns=uptime"), progress).await?;
            let uptime = node["uptime"].as_u64().map(std::time::Duration::from_millis);
            up_since = uptime.and_then(|uptime| Instant::now().checked_sub(uptime));
        }
        Ok(Node { version: text(&overview, "rabbitmq_version"), name, up_since })
    }

    async fn get(&self, path: &str, progress: &Progress) -> Result<(StatusCode, Value), Failure> {
        let url = format!("{}/api/{path}", self.base.as_str().trim_end_matches('/'));
        let request = self.client.get(url).basic_auth(&self.user, Some(self.password.expose_secret()));
        let response = request.send().await.map_err(|error| unreachable_api(&error, progress))?;
        let status = response.status();
        if status == StatusCode::UNAUTHORIZED {
            progress.enter(Step::Authenticate);
            return Err(progress.failure("the management API refuses the user or the password"));
        }
        let body = response.bytes().await.map_err(|error| unreachable_api(&error, progress))?;
        Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
    }
}

fn unreachable_api(error: &reqwest::Error, progress: &Progress) -> Failure {
    let kind = network::io_kind(error).unwrap_or(io::ErrorKind::Other);
    if error.is_connect() {
        progress.enter(if kind == io::ErrorKind::InvalidData { Step::Tls } else { Step::Connect });
    }
    progress.failure(format!("the management API: {}", network::explain_io(kind)))
}

/// A failed check is a 503 with a reason in RabbitMQ's own words, which name nodes and ports; those are for the log.
fn verdict(meaning: &str, status: StatusCode, body: &Value, progress: &Progress) -> Result<(), Failure> {
    match status {
        StatusCode::OK => Ok(()),
        StatusCode::SERVICE_UNAVAILABLE => {
            tracing::debug!(reason = %body["reason"], "a check of RabbitMQ fails: {meaning}");
            Err(progress.failure(meaning))
        }
        status => Err(progress.failure(format!("the management API answers {}", status.as_u16()))),
    }
}
