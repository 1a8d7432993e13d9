//! Messages and gRPC stubs generated from `proto/`. `tests/bootstrap.rs` regenerates them and fails on a difference.

/// Registration and discovery, `sker.registry.v1`.
#[allow(missing_docs, clippy::all, clippy::allow_attributes_without_reason, reason = "generated code")]
#[rustfmt::skip]
#[path = "gen/sker.registry.v1.rs"]
pub mod registry;

/// Tasks, nodes and access, `sker.store.v1`.
#[allow(missing_docs, clippy::all, clippy::allow_attributes_without_reason, reason = "generated code")]
#[rustfmt::skip]
#[path = "gen/sker.store.v1.rs"]
pub mod store;

/// The descriptors of all services, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!("gen/descriptor.bin");
