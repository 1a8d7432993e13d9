//! `cargo xtask bench`: what a built `sker up` does, measured from outside.
//!
//! One run starts the program in a temporary directory, waits until it is ready, reads its memory, then submits one-sentence
//! `semantic_analysis` tasks over HTTP and waits for each one's `ai_task.completed` on the WebSocket. The latency of a task
//! runs from before its POST to its event.

use std::{
    collections::HashMap,
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use futures::{StreamExt as _, stream::FuturesUnordered};
use serde_json::{Value, json};
use sker_client::http::{Frame, Platform};
use sker_testkit::Ports;

const PATIENCE: Duration = Duration::from_secs(120);

/// What to measure.
#[derive(clap::Args)]
pub struct Options {
    /// The program to measure; build it first with `cargo build --release -p sker`.
    #[arg(long, default_value = "target/release/sker")]
    program: PathBuf,
    /// Tasks that count.
    #[arg(long, default_value_t = 5_000)]
    tasks: usize,
    /// Tasks before counting starts.
    #[arg(long, default_value_t = 500)]
    warm_up: usize,
    /// Tasks in flight, from submission to completion.
    #[arg(long, default_value_t = 32)]
    concurrency: usize,
}

pub fn run(options: Options) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?.block_on(measure(options))
}

async fn measure(options: Options) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let started = Instant::now();
    let server = Server::start(&options.program, directory.path())?;
    let platform = Platform::new(&server.gateway)?;
    server.wait_until_ready(&platform).await?;
    println!("start to ready      {:>9.0} ms", started.elapsed().as_secs_f64() * 1e3);
    println!("memory when ready   {:>9.1} MiB", server.resident_mib()?);

    platform.sign_up("bench@example.com", "bench", "correct horse battery").await?;
    let project = platform.post("/api/v1/projects", &json!({"name": "bench"})).await?;
    let project = project["id"].as_str().context("a project id")?.to_owned();
    let mut load = Load::new(platform, project, options.concurrency).await?;
    load.run(options.warm_up).await?;
    let outcome = load.run(options.tasks).await?;
    outcome.print();
    println!("memory afterwards   {:>9.1} MiB", server.resident_mib()?);
    Ok(())
}

/// A running `sker up`; killed when dropped.
struct Server {
    child: Child,
    gateway: String,
}

impl Server {
    fn start(program: &PathBuf, data: &std::path::Path) -> Result<Server> {
        let ports = Ports::free()?;
        let mut command = Command::new(program);
        command.arg("up").arg("--data-dir").arg(data).args(ports.arguments());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().with_context(|| {
            format!("cannot start {}; build it with `cargo build --release -p sker`", program.display())
        })?;
        Ok(Server { child, gateway: format!("http://127.0.0.1:{}", ports.gateway) })
    }

    async fn wait_until_ready(&self, platform: &Platform) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while platform.get("/ready").await.is_err() || platform.get("/api/v1/auth/me").await.is_err_and(is_no_route) {
            if Instant::now() > deadline {
                bail!("the platform did not become ready");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    fn resident_mib(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("VmRSS in /proc")?;
        let kib: f64 = line.split_whitespace().nth(1).context("a number")?.parse()?;
        Ok(kib / 1024.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A bench that ends early leaves nothing running; the process may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ready means that the store's routes are there too: 401 is an answer, 503 is none.
fn is_no_route(error: sker_error::Error) -> bool {
    error.is_retryable()
}

struct Load {
    platform: Platform,
    project: String,
    concurrency: usize,
    events: sker_client::http::Events,
    submitted: usize,
}

impl Load {
    async fn new(platform: Platform, project: String, concurrency: usize) -> Result<Load> {
        let mut events = platform.events().await?;
        events.subscribe(&format!("project:{project}"), None).await?;
        Ok(Load { platform, project, concurrency, events, submitted: 0 })
    }

    /// Keeps `concurrency` tasks in flight until `tasks` have completed.
    async fn run(&mut self, tasks: usize) -> Result<Outcome> {
        let started = Instant::now();
        let mut submissions = FuturesUnordered::new();
        let mut sent: HashMap<String, Instant> = HashMap::with_capacity(tasks);
        let mut done: HashMap<String, Instant> = HashMap::with_capacity(tasks);
        let mut begun = 0;
        while done.len() < tasks || !submissions.is_empty() {
            while begun < tasks && begun - done.len() < self.concurrency {
                submissions.push(submit(self.platform.clone(), self.project.clone(), self.submitted));
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

struct Outcome {
    elapsed: Duration,
    latencies: Vec<Duration>,
}

impl Outcome {
    fn print(&self) {
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
