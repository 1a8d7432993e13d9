//! What the services ask of each other: one async trait per service over the protobuf messages, and the adapters that
//! carry it over gRPC.
//!
//! A caller holds an `Arc<dyn Store>` or `Arc<dyn Registry>` and does not know whether the callee runs in this process
//! or across the network. Only calls that another service makes are here; what users call is HTTP.

pub mod contract;
mod ctx;
pub mod grpc;
mod registry;
mod store;

pub use ctx::{Ctx, DEFAULT_DEADLINE};
pub use registry::{PLATFORM_GROUP, Registry, WatchStream};
pub use sker_proto as proto;
pub use store::{NodeStream, Store};
