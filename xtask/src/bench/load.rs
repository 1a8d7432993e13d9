//! Tasks, submitted and waited for.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use futures::{StreamExt as _, stream::FuturesUnordered};
use serde_json::{Value, json};
use sker_client::http::{Events, Frame, Platform};

use super::PATIENCE;

/// One-sentence tasks in a project, submitted through every gateway in turn and heard of through the first.
pub struct Load {
    platforms: Vec<Platform>,
    project: String,
    concurrency: usize,
    events: Events,
    submitted: usize,
}

impl Load {
    /// Signs a user up, makes a project and listens to it. `concurrency` tasks are in flight, from submission to completion.
    pub async fn new(gateways: &[String], concurrency: usize) -> Result<Load> {
        let platforms: Vec<Platform> = gateways.iter().map(|url| Platform::new(url)).collect::<Result<_, _>>()?;
        let first = platforms.first().context("a gateway")?;
        first.sign_up("bench@example.com", "bench", "correct horse battery").await?;
        for platform in &platforms[1..] {
            platform.login("bench@example.com", "correct horse battery").await?;
        }
        let project = first.post("/api/v1/projects", &json!({"name": "bench"})).await?;
        let project = project["id"].as_str().context("a project id")?.to_owned();
        let mut events = first.events().await?;
        events.subscribe(&format!("project:{project}"), None).await?;
        Ok(Load { platforms, project, concurrency, events, submitted: 0 })
    }

    /// Keeps `concurrency` tasks in flight until `tasks` have completed.
    pub async fn run(&mut self, tasks: usize) -> Result<Outcome> {
        let started = Instant::now();
        let mut submissions = FuturesUnordered::new();
        let mut sent: HashMap<String, Instant> = HashMap::with_capacity(tasks);
        let mut done: HashMap<String, Instant> = HashMap::with_capacity(tasks);
        let mut begun = 0;
        while done.len() < tasks || !submissions.is_empty() {
            while begun < tasks && begun - done.len() < self.concurrency {
                let platform = &self.platforms[self.submitted % self.platforms.len()];
                submissions.push(submit(platform.clone(), self.project.clone(), self.submitted));
                self.submitted += 1;
                begun += 1;
            }
            tokio::select! {
                Some(submission) = submissions.next() => {
                    let (id, at) = submission?;
                    sent.insert(id, at);
                }
                frame = tokio::time::timeout(PATIENCE, self.events.next()) => {
                    if let Frame::Event(event) = frame.context("the platform stopped completing tasks")?? {
                        match event.kind.as_str() {
                            "ai_task.completed" => { done.insert(task_id(&event.data), Instant::now()); }
                            "ai_task.failed" => bail!("a task failed: {}", event.data),
                            _ => {}
                        }
                    }
                }
            }
        }
        let elapsed = started.elapsed();
        let mut latencies: Vec<Duration> =
            sent.iter().filter_map(|(id, at)| done.get(id).map(|end| end.duration_since(*at))).collect();
        latencies.sort_unstable();
        Ok(Outcome { elapsed, latencies })
    }
}

/// Submits a task; answers its id, and when it was sent.
async fn submit(platform: Platform, project: String, number: usize) -> Result<(String, Instant)> {
    let text = format!("Number {number} of the bees that dance in the garden tells the others where to fly.");
    let body = json!({"project_id": project, "type": "semantic_analysis", "input_data": {"inputs": [text]}});
    let sent = Instant::now();
    let task = platform.post("/api/v1/ai-tasks", &body).await?;
    Ok((task["id"].as_str().unwrap_or_default().to_owned(), sent))
}

fn task_id(data: &Value) -> String {
    data["id"].as_str().unwrap_or_default().to_owned()
}

/// What came of it.
pub struct Outcome {
    elapsed: Duration,
    latencies: Vec<Duration>,
}

impl Outcome {
    pub fn print(&self) {
        let at = |share: f64| {
            let index = ((self.latencies.len() as f64 * share) as usize).min(self.latencies.len().saturating_sub(1));
            self.latencies.get(index).map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
        };
        println!("tasks               {:>9}", self.latencies.len());
        println!("tasks per second    {:>9.0}", self.latencies.len() as f64 / self.elapsed.as_secs_f64());
        println!("latency p50         {:>9.1} ms", at(0.50));
        println!("latency p99         {:>9.1} ms", at(0.99));
    }
}
