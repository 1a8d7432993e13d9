//! The database crate on SQLite, PostgreSQL and MariaDB.

mod connection;
mod errors;
mod leader;
mod mysql;
mod outage;
mod postgres;
mod runtime;
mod schema;
mod times;
mod world;
