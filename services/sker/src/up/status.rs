//! `sker up --health`: how the platform is that runs with this configuration.

use std::time::Duration;

use sker_runtime::HttpConfig;

use super::prepare::Configs;
use crate::{
    exit::{Exit, Failure},
    output::line,
};

/// How long a service may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Prints a line per service; fails unless all are well.
pub async fn print(configs: &Configs) -> Result<(), Failure> {
    let http = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build();
    let http = http.map_err(|error| anyhow::Error::new(error).context("cannot make an HTTP client"))?;
    let mut unwell = Vec::new();
    for (service, config) in services(configs) {
        let url = format!("http://{}:{}/health", reachable(&config.host), config.port);
        let status = match http.get(url).send().await {
            Ok(answer) if answer.status().is_success() => "healthy".to_owned(),
            Ok(answer) => format!("answers {}", answer.status()),
            Err(error) if error.is_timeout() => "does not answer in time".to_owned(),
            Err(_) => "does not answer".to_owned(),
        };
        line(&format!("{service}: {status}"))?;
        if status != "healthy" {
            unwell.push(service);
        }
    }
    match unwell.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(Exit::Failure, format!("not healthy: {}", unwell.join(", ")))),
    }
}

fn services(configs: &Configs) -> [(&'static str, &HttpConfig); 5] {
    [
        ("registry", &configs.registry.http),
        ("store", &configs.store.http),
        ("database-service", &configs.database_service.http),
        ("broker", &configs.broker.http),
        ("gateway", &configs.gateway.http),
    ]
}

fn reachable(host: &str) -> &str {
    match host {
        "0.0.0.0" => "127.0.0.1",
        "::" => "[::1]",
        host => host,
    }
}
