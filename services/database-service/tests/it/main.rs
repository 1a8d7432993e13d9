//! The service from outside, over HTTP, with real SQLite files and real servers.

mod api;
mod connections;
mod failures;
mod hangs;
mod outages;
mod program;
mod registration;
mod restart;
mod servers;
mod signing_in;
mod support;
