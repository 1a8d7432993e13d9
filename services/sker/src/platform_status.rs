//! The services of a platform and how they are, as `sker services list` and the demo show them.

use std::{io, time::Duration};

use serde_json::Value;

use crate::{
    exit::Failure,
    output::{Output, line, printable},
};

/// The group of the platform's own services.
const GROUP: &str = "sker-platform";
/// How long one instance may take to say how it is.
const PATIENCE: Duration = Duration::from_secs(3);

/// One instance of a service.
#[derive(Clone, Debug)]
pub struct ServiceRow {
    /// As the registry has it.
    pub instance: Value,
    /// What it says itself, when it was asked.
    pub health: Option<Value>,
}

/// Reads all instances of the platform's services from the registry, through the gateway. `get` reads a path there.
pub async fn read(get: impl AsyncFn(&str) -> Result<Value, Failure>) -> Result<Vec<ServiceRow>, Failure> {
    let services = get(&format!("/api/v1/registry/services?groupName={GROUP}")).await?;
    let mut rows = Vec::new();
    for service in list(&services, "services") {
        let Some(name) = service["serviceName"].as_str() else { continue };
        let path = format!("/api/v1/registry/services/{name}/instances?groupName={GROUP}");
        let found = get(&path).await?;
        rows.extend(list(&found, "instances").iter().cloned().map(|instance| ServiceRow { instance, health: None }));
    }
    rows.sort_by_key(|row| (row.text("/serviceName"), row.text("/hostAddress"), row.port()));
    Ok(rows)
}

/// Asks each instance itself. One that does not answer stays without.
pub async fn ask(rows: &mut [ServiceRow]) -> Result<(), Failure> {
    let http = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build();
    let http = http.map_err(|error| anyhow::Error::new(error).context("cannot make an HTTP client"))?;
    let answers = futures::future::join_all(rows.iter().map(|row| {
        let request = http.get(format!("http://{}:{}/health", row.text("/hostAddress"), row.port()));
        async move { request.send().await.ok()?.json::<Value>().await.ok() }
    }));
    for (row, health) in rows.iter_mut().zip(answers.await) {
        row.health = health;
    }
    Ok(())
}

/// Prints them as a table.
pub fn print(output: Output, rows: &[ServiceRow]) -> io::Result<()> {
    if rows.is_empty() {
        return line("none");
    }
    let asked = rows.iter().any(|row| row.health.is_some());
    let mut headings = vec!["service", "address", "version", "status", "health"];
    if asked {
        headings.extend(["says", "checks", "uptime"]);
    }
    let mut table = output.table(headings);
    for row in rows {
        let address = format!("{}:{}", row.text("/hostAddress"), row.port());
        let mut cells = vec![row.text("/serviceName"), address, row.version(), row.text("/instanceStatus")];
        cells.push(row.text("/healthStatus"));
        if asked {
            cells.extend(row.answer());
        }
        table.add_row(cells.iter().map(|text| output.cell(text)));
    }
    line(&table.to_string())
}

impl ServiceRow {
    fn text(&self, pointer: &str) -> String {
        printable(self.instance.pointer(pointer).and_then(Value::as_str).unwrap_or("-"))
    }

    fn port(&self) -> u64 {
        self.instance["portNumber"].as_u64().unwrap_or_default()
    }

    fn version(&self) -> String {
        let of_health = self.health.as_ref().and_then(|health| health["version"].as_str());
        of_health.map_or_else(|| self.text("/metadata/version"), printable)
    }

    /// What it says of itself: its state, how many of its checks are well, and since when it runs.
    fn answer(&self) -> [String; 3] {
        let Some(health) = &self.health else { return ["no answer", "-", "-"].map(str::to_owned) };
        let checks = list(health, "checks");
        let well = checks.iter().filter(|check| check["status"] == "healthy").count();
        let uptime = health["uptime_ms"].as_u64().map(|millis| format!("{:.1} s", millis as f64 / 1000.0));
        [
            printable(health["status"].as_str().unwrap_or("-")),
            format!("{well} of {}", checks.len()),
            uptime.unwrap_or_else(|| "-".to_owned()),
        ]
    }
}

/// A list that stands alone, under `data` as everywhere, or under a name of its own.
fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    let list = value.as_array().or_else(|| value["data"].as_array()).or_else(|| value[name].as_array());
    list.map(Vec::as_slice).unwrap_or_default()
}
