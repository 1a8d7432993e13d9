//! MySQL from version 5.7 and MariaDB from 10.5.

use std::str::FromStr;

use sker_error::{Error, Result};
use sqlx::{ConnectOptions, Executor, MySqlConnection, mysql::MySqlConnectOptions};
use tracing::log::LevelFilter;

use crate::{
    DbConfig,
    connect::{Pools, SLOW_STATEMENT, cannot_open, pool_options},
    session::SessionOptions,
};

/// The same on every server, whatever its configuration says: what does not fit is refused instead of cut, and a statement
/// sees what is committed, as on PostgreSQL. sqlx has set `time_zone` to UTC and the character set to utf8mb4.
const SESSION: &str = "SET sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,\
    NO_ENGINE_SUBSTITUTION,PIPES_AS_CONCAT'; SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";

pub(crate) async fn open(config: &DbConfig) -> Result<Pools> {
    if config.schema.is_some() {
        return Err(Error::invalid_request("MySQL has no schemas within a database; name none"));
    }
    let options = MySqlConnectOptions::from_str(&config.url)
        .map_err(|error| Error::invalid_request("the MySQL URL cannot be read").with_cause(error))?
        .charset("utf8mb4")
        .timezone(Some("+00:00".to_owned()))
        .log_statements(LevelFilter::Trace)
        .log_slow_statements(LevelFilter::Warn, SLOW_STATEMENT);
    if options.get_database().is_none() {
        return Err(Error::invalid_request("the MySQL URL must name a database"));
    }
    let session = SessionOptions::MySql(options.clone());
    // The pool would try until `acquire_timeout` and then say only that time ran out; this says why.
    session.open().await.map_err(cannot_open)?.close().await;
    let pool = pool_options(config)
        .after_connect(|connection, _| Box::pin(prepare(connection)))
        .connect_with(options)
        .await
        .map_err(cannot_open)?;
    Ok(Pools::MySql { pool, session })
}

/// Opens a connection outside of the pool.
pub(crate) async fn connect(options: &MySqlConnectOptions) -> sqlx::Result<MySqlConnection> {
    let mut connection = options.connect().await?;
    prepare(&mut connection).await?;
    Ok(connection)
}

async fn prepare(connection: &mut MySqlConnection) -> sqlx::Result<()> {
    connection.execute(SESSION).await?;
    Ok(())
}
