use serde_json::Value;

use crate::{
    cli::DbCommand,
    client::Client,
    exit::Failure,
    output::{Column, line},
};

const COLUMNS: &[Column] = &[
    ("type", "/database_type"),
    ("name", "/name"),
    ("status", "/status"),
    ("latency ms", "/latency_ms"),
    ("up 24 h %", "/uptime_percentage"),
    ("checked", "/checked_at"),
    ("error", "/error/message"),
];

pub async fn run(client: &Client, command: DbCommand) -> Result<(), Failure> {
    match command {
        DbCommand::Status => status(client).await,
    }
}

async fn status(client: &Client) -> Result<(), Failure> {
    let answer = client.get("/api/database/status").await?;
    if client.output.is_json() {
        return Ok(client.output.json(&answer)?);
    }
    line(&format!("overall: {}", answer["overall_status"].as_str().unwrap_or("unknown")))?;
    let (targets, without) = targets(&answer);
    client.output.rows(&targets, COLUMNS)?;
    if !without.is_empty() {
        line(&format!("not configured: {}", without.join(", ")))?;
    }
    Ok(())
}

/// The configured targets, and the kinds that have none.
fn targets(answer: &Value) -> (Vec<Value>, Vec<String>) {
    let mut targets = Vec::new();
    let mut without = Vec::new();
    for (kind, status) in answer["databases"].as_object().into_iter().flatten() {
        match status["targets"].as_array() {
            Some(of_kind) if !of_kind.is_empty() => targets.extend(of_kind.iter().cloned()),
            _ => without.push(kind.clone()),
        }
    }
    (targets, without)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn kinds_without_a_target_are_named_apart() {
        let answer = json!({ "databases": {
            "sqlite": { "targets": [{ "name": "store" }, { "name": "registry" }] },
            "redis": { "targets": [] },
        } });
        let (targets, without) = targets(&answer);
        assert_eq!(targets.len(), 2);
        assert_eq!(without, ["redis"]);
    }
}
