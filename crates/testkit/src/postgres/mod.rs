//! PostgreSQL: a database of the shared server for each test, or a server of one's own.

mod database;
mod server;

pub(crate) use database::{Drop, with_database};
pub use database::{TestDatabase, postgres_database};
pub use server::PostgresServer;
