//! Development tasks. `cargo xtask help` lists them.

mod bench;
mod layers;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Development tasks of the SKER workspace.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Prints the crates by level and fails on an edge that does not go down.
    Layers,
    /// Runs every test, with PostgreSQL, MariaDB, Redis and RabbitMQ started for the run.
    Test(test::Options),
    /// Measures a built `sker`: start to ready, memory, tasks per second and their latency.
    Bench(bench::Options),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Layers => layers::run().map(|()| ExitCode::SUCCESS),
        Task::Test(options) => test::run(options),
        Task::Bench(options) => bench::run(options).map(|()| ExitCode::SUCCESS),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
