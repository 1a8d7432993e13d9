//! The registry on its own.

use std::process::ExitCode;

use sker_registry::{Config, Deps, build};
use sker_runtime::{Listeners, bind, program};

fn main() -> ExitCode {
    program::main(|config: Config, shutdown| async move {
        let deps = Deps::connect(&config).await?;
        let listeners = Listeners {
            http: bind(&config.http.host, config.http.port)?,
            grpc: Some(bind(&config.grpc.host, config.grpc.port)?),
        };
        build(config, deps, listeners).await?.run(shutdown).await
    })
}
