//! Cache and realtime log on a real Redis server.

mod cache;
mod config;
mod faults;
mod log;
mod model;
mod support;
