//! RabbitMQ 3.10 and later: one long-lived AMQP connection and, where it is configured, the management API.

mod amqp;
mod management;

use async_trait::async_trait;
use serde_json::json;
use tokio::time::Instant;

use self::{amqp::Amqp, management::Management};
use super::network::{self, Address};
use crate::app::{Depth, Driver, Failure, Observation, Progress, Session, Target};

/// Checks RabbitMQ servers.
pub struct Rabbitmq;

#[async_trait]
impl Driver for Rabbitmq {
    async fn connect(&self, target: &Target, _: Instant, progress: &Progress) -> Result<Box<dyn Session>, Failure> {
        let address = address(target.url()).map_err(|message| progress.failure(message))?;
        network::resolve(&address, progress).await?;
        let amqp = Amqp::connect(target.url(), &address, progress).await?;
        let management = match target.management_url() {
            Some(url) => Some(Management::new(url, &address).map_err(|message| progress.failure(message))?),
            None => None,
        };
        Ok(Box::new(Server { amqp, management }))
    }

    fn check_url(&self, url: &str) -> Result<(), String> {
        amqp::uri(url, &address(url)?).map(drop)
    }

    fn check_management_url(&self, url: &str) -> Result<(), String> {
        management::check_url(url)
    }
}

fn address(url: &str) -> Result<Address, String> {
    // The parameters of https://www.rabbitmq.com/docs/uri-query-parameters that lapin knows.
    let parameters = ["frame_max", "channel_max", "heartbeat", "connection_timeout", "auth_mechanism"];
    let port = if url.starts_with("amqps:") { 5671 } else { 5672 };
    network::address(url, &["amqp", "amqps"], &parameters, port)
}

struct Server {
    amqp: Amqp,
    management: Option<Management>,
}

#[async_trait]
impl Session for Server {
    async fn look(&mut self, _: Depth, progress: &Progress) -> Result<Observation, Failure> {
        self.amqp.round_trip(progress).await?;
        let mut observation = Observation::default();
        if let Some(management) = &mut self.management {
            management.check(progress).await?;
            let node = management.node(progress).await?;
            observation.version = node.version.clone();
            observation.uptime_s = node.uptime_s();
            observation.details.extend(node.name.clone().map(|name| ("node".to_owned(), json!(name))));
        }
        Ok(observation)
    }

    async fn close(self: Box<Self>) {
        self.amqp.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_the_url_is_the_one_that_is_asked() {
        for (url, host) in [
            ("amqp://u:p@[2001:db8::1]:5673/%2f", "2001:db8::1"),
            ("amqps://rabbit.example", "rabbit.example"),
            ("amqp://10.0.0.1", "10.0.0.1"),
        ] {
            let uri = address(url).and_then(|address| amqp::uri(url, &address));
            assert_eq!(uri.unwrap_or_else(|message| panic!("{message}")).authority.host, host);
        }
    }
}
