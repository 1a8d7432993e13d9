//! What SPEC.md and CONTRACT.md promise, asked of the real program from outside.

mod access;
mod commands;
mod configuration;
mod demo;
mod events;
mod paging;
mod registration;
mod resources;
mod restart;
mod texts;
mod tracing;
mod world;
