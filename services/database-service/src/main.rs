//! The database-service as a program of its own.

use std::{process::ExitCode, sync::Arc};

use sker_api::grpc::{ClientAuth, RegistryClient, channel};
use sker_auth::{ServiceTokens, TokenKeys};
use sker_database_service::{Config, Deps, SERVICE, build};
use sker_runtime::{Listeners, bind, program};

fn main() -> ExitCode {
    program::main(|config: Config, shutdown| async move {
        let listeners = Listeners {
            http: bind(&config.http.host, config.http.port)?,
            grpc: Some(bind(&config.grpc.host, config.grpc.port)?),
        };
        let keys = Arc::new(TokenKeys::hs256(&config.jwt_secret)?);
        let auth = ClientAuth::new(Arc::new(ServiceTokens::new(Arc::clone(&keys), SERVICE)));
        let registry = Arc::new(RegistryClient::new(channel(&config.registration.registry_url)?, auth));
        build(config, Deps { registry, keys }, listeners).await?.run(shutdown).await
    })
}
