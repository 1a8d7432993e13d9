//! The service from outside, over HTTP, with real SQLite files.

mod api;
mod connections;
mod failures;
mod program;
mod registration;
mod restart;
mod support;
