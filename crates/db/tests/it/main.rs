//! The database crate on SQLite.

mod connection;
mod errors;
mod schema;
mod times;
