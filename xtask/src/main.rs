//! Development tasks. `cargo xtask help` lists them.

mod bench;
mod layers;

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
    /// Measures a built `sker`: start to ready, memory, tasks per second and their latency.
    Bench(bench::Options),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Layers => layers::run(),
        Task::Bench(options) => bench::run(options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
