//! Requests to the services behind the gateway: connections, bodies on their way, and what is tried again.

mod body;
mod connect;
mod pool;
mod proxy;
mod tunnel;

pub use body::{Body, BodyFault, RequestBody, Transfer};
pub use connect::get;
pub use pool::{Connection, Pool};
pub use proxy::{Forward, Limits};
pub use tunnel::Tunnels;
