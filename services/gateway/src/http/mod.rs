//! The gateway's HTTP side: threads that serve connections, what is done with each request, and the gateway's own endpoints.

mod access_log;
mod dispatch;
mod measure;
mod own;
mod server;
mod socket;
mod worker;

pub use dispatch::Exchange;
pub use measure::HttpMetrics;
pub use own::openapi as own_openapi;
pub use server::serve;
pub use worker::Worker;
