//! The store: users, projects, nodes, connections and AI tasks.
//!
//! What it does is in `app`, as use cases that know no transport and no SQL. `http` is their REST interface, `rpc` what
//! other services call, `store` the database. Every change is stored with its events in one transaction; a relay carries
//! those to the bus and the realtime log, and a reconciler puts right what a crash of anybody leaves behind.

mod app;
mod config;
mod deps;
mod http;
mod migration;
mod relay;
mod rpc;
mod service;
mod store;

pub use config::{AdminConfig, Config, layers};
pub use deps::Deps;
pub use service::{Service, build};

/// The service's name.
pub const SERVICE: &str = "store";
/// Its version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
