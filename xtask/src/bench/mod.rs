//! `cargo xtask bench`: what the built platform does, measured from outside.
//!
//! One run starts the platform in a temporary directory, waits until it is ready, reads its memory, then submits one-sentence
//! `semantic_analysis` tasks over HTTP and waits for each one's `ai_task.completed` on the WebSocket. The latency of a task
//! runs from before its POST to its event. The platform is `sker up`, or with `--distributed` the five programs on
//! PostgreSQL, Redis and RabbitMQ servers that are started for it and keep what they confirm.

mod load;
mod target;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Result;

use self::{load::Load, target::Target};

const PATIENCE: Duration = Duration::from_secs(120);

/// What to measure.
#[derive(clap::Args)]
pub struct Options {
    /// The `sker` to measure; build it first with `cargo build --release -p sker`. With `--distributed`, `SKER_BIN_DIR` says
    /// where the programs are; build them with `cargo build --release --workspace --bins`.
    #[arg(long, default_value = "target/release/sker")]
    program: PathBuf,
    /// Measure the five programs instead of `sker up`.
    #[arg(long)]
    distributed: bool,
    /// Gateways, with --distributed.
    #[arg(long, default_value_t = 1, requires = "distributed")]
    gateways: usize,
    /// Brokers, with --distributed.
    #[arg(long, default_value_t = 1, requires = "distributed")]
    brokers: usize,
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
    let mut target = if options.distributed {
        Target::distributed(directory.path(), options.gateways, options.brokers).await?
    } else {
        let started = Instant::now();
        let target = Target::embedded(&options.program, directory.path()).await?;
        println!("start to ready      {:>9.0} ms", started.elapsed().as_secs_f64() * 1e3);
        target
    };
    println!("when ready");
    target.print_memory()?;
    let mut load = Load::new(&target.gateways()?, options.concurrency).await?;
    load.run(options.warm_up).await?;
    let before = target.cpu_seconds()?;
    let outcome = load.run(options.tasks).await?;
    let after = target.cpu_seconds()?;
    outcome.print();
    println!("processor time of each task");
    for ((name, before), (_, after)) in before.into_iter().zip(after) {
        println!("  {name:<18}{:>9.2} ms", (after - before) * 1e3 / options.tasks as f64);
    }
    println!("afterwards");
    target.print_memory()
}
