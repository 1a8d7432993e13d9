//! The store as a program of its own.

use std::process::ExitCode;

use sker_runtime::{Listeners, bind, program};
use sker_store::{Config, Deps, build};

fn main() -> ExitCode {
    program::main(|config: Config, shutdown| async move {
        let listeners = Listeners {
            http: bind(&config.http.host, config.http.port)?,
            grpc: Some(bind(&config.grpc.host, config.grpc.port)?),
        };
        let deps = Deps::connect(&config).await?;
        let bus = deps.bus.clone();
        // Told to stop while it still waits for its database, it stops.
        let outcome = match shutdown.run_until_cancelled(build(config, deps, listeners)).await {
            Some(Ok(service)) => service.run(shutdown).await,
            Some(Err(error)) => Err(error),
            None => Ok(()),
        };
        bus.close().await;
        outcome
    })
}
