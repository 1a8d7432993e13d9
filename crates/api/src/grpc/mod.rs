//! The api traits over gRPC: servers that wrap an implementation, clients that are one.
//!
//! Callers present a service-role token. The principal they act for travels beside it and is believed because of it.

mod call;
mod metadata;
mod registry;
mod server;
mod status;
mod store;

pub use metadata::ClientAuth;
pub use registry::{RegistryClient, registry_routes};
pub use status::{from_status, to_status};
pub use store::{StoreClient, store_routes};

use std::time::Duration;

use sker_error::{Error, Result};
use tonic::transport::{Channel, Endpoint};

/// The largest message either side takes. tonic's own default of 4 MiB is less than one node may hold.
pub const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(3);
/// When a peer that says nothing is asked whether it is there, and how long it may take to say so: a connection whose other
/// end has vanished is given up within 15 s, and every call and stream on it ends as `unavailable`.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const KEEP_ALIVE_ANSWER: Duration = Duration::from_secs(5);

/// Whether a [`channel`] can be made to this URL.
pub fn is_address(url: &str) -> bool {
    url.parse::<tonic::codegen::http::Uri>().is_ok_and(|uri| uri.host().is_some_and(|host| !host.is_empty()))
}

/// A channel that connects when first used and again whenever it is cut.
///
/// Fails with `validation_failed` when the URL is none.
pub fn channel(url: &str) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(url.to_owned())
        // Without the URL itself, which somebody may have put a password into.
        .map_err(|error| Error::invalid_request("the address of a gRPC service is no URL").with_cause(error))?;
    Ok(endpoint
        .user_agent(concat!("sker/", env!("CARGO_PKG_VERSION")))
        .map_err(Error::internal)?
        .connect_timeout(CONNECT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_ANSWER)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true)
        .connect_lazy())
}
