//! The client against small servers of its own.

mod events;
mod platform;
mod registrar;
mod server;
