//! The gateway as a program of its own.

use std::process::ExitCode;

use sker_gateway::{Config, Deps, build};
use sker_runtime::{Listeners, bind, program};

fn main() -> ExitCode {
    program::main(|config: Config, shutdown| async move {
        let listeners = Listeners { http: bind(&config.http.host, config.http.port)?, grpc: None };
        let deps = Deps::connect(&config).await?;
        let bus = deps.bus.clone();
        let outcome = build(config, deps, listeners).await?.run(shutdown).await;
        bus.close().await;
        outcome
    })
}
