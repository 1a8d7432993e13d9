//! The client SDK of the platform.
//!
//! [`http::Platform`] speaks to a gateway as any other client does: HTTP for resources, a WebSocket for what happens.
//! [`Registrar`] keeps an instance registered: it registers, sends heartbeats, registers again when the registry has
//! forgotten it, and deregisters. The platform's own services register through it too.

pub mod http;
mod registrar;

pub use registrar::{Registrar, RegistrarState};
