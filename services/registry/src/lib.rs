//! The service registry: who is there, how well it is, and who changed it.
//!
//! Instances register under a service of a group of a tenant and stay by heartbeats; clients find them by filters, wait
//! for changes, or follow them. Everything is answered from memory; a database keeps it over restarts and is written
//! behind. [`app`] is the registry itself, [`mod@http`] its REST interface (`seeds/service-registry.md`), [`rpc`] what the
//! platform's services call, [`store`] the database.

pub mod app;
mod config;
pub mod http;
mod metrics;
pub mod migration;
pub mod rpc;
mod service;
pub mod store;

pub use config::{Config, layers};
pub use service::{Deps, Service, build};

/// The service's name.
pub const SERVICE: &str = "registry";
/// Its version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
