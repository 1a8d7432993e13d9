//! What SPEC.md and CONTRACT.md promise, asked of the real program from outside.

mod access;
mod collector;
mod commands;
mod configuration;
mod demo;
mod distributed;
mod events;
mod paging;
mod registration;
mod resources;
mod restart;
mod scripts;
mod texts;
mod tracing;
mod world;
