//! The api traits over gRPC: servers that wrap an implementation, clients that are one.
//!
//! Callers present a service-role token. The principal they act for travels beside it and is believed because of it.

mod metadata;
mod registry;
mod server;
mod status;
mod store;

pub use metadata::ClientAuth;
pub use registry::{RegistryClient, registry_routes};
pub use status::{from_status, to_status};
pub use store::{StoreClient, store_routes};

use sker_error::{Error, Result};
use tonic::transport::{Channel, Endpoint};

/// The largest message either side takes. tonic's own default of 4 MiB is less than one node may hold.
pub const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// A channel that connects when first used and again whenever it is cut.
///
/// Fails with `validation_failed` when the URL is none.
pub fn channel(url: &str) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(url.to_owned())
        .map_err(|error| Error::invalid_request(format!("{url} is not a gRPC URL")).with_cause(error))?;
    Ok(endpoint
        .connect_timeout(std::time::Duration::from_secs(3))
        .http2_keep_alive_interval(std::time::Duration::from_secs(10))
        .keep_alive_while_idle(true)
        .tcp_nodelay(true)
        .connect_lazy())
}
