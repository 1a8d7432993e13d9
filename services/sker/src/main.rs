//! The `sker` program: the whole platform in one process, and its client commands.

mod cli;
mod client;
mod commands;
mod demo;
mod exit;
mod output;
mod platform_status;
mod private_file;
mod session;
mod up;

use std::{
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
};

use clap::{CommandFactory, Parser};
use cli::{Cli, Command};
use exit::Failure;
use sker_config::normalise_args;

fn main() -> ExitCode {
    // The one TLS provider of the process; reqwest would otherwise find none.
    let installed = rustls::crypto::ring::default_provider().install_default();
    debug_assert!(installed.is_ok(), "nothing else installs a provider before main does");
    let cli = Cli::parse_from(normalise_args(std::env::args_os().collect::<Vec<OsString>>()));
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.message.is_empty() {
                // Nothing can be done for somebody who closed standard error.
                let _ = writeln!(io::stderr(), "sker: {failure}");
            }
            failure.exit.into()
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "sker", &mut script);
            Ok(io::stdout().lock().write_all(&script)?)
        }
        Command::Demo(args) => demo::run(&cli.client, args),
        Command::Up(args) => up::run(args),
        command => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(commands::run(&cli.client, command))
        }
    }
}
