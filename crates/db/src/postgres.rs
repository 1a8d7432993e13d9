//! PostgreSQL, from version 12.

use std::str::FromStr;

use sker_error::{Error, Result};
use sqlx::{ConnectOptions, postgres::PgConnectOptions};
use tracing::log::LevelFilter;

use crate::{
    DbConfig,
    connect::{Pools, SLOW_STATEMENT, cannot_open, pool_options},
    session::SessionOptions,
};

/// The server notices within about half a minute that a client vanished without a word, and gives back what it had
/// locked. (Its own default is two hours.)
const KEEPALIVE: [(&str, &str); 3] =
    [("tcp_keepalives_idle", "15"), ("tcp_keepalives_interval", "5"), ("tcp_keepalives_count", "3")];

pub(crate) async fn open(config: &DbConfig) -> Result<Pools> {
    let mut options = PgConnectOptions::from_str(&config.url)
        .map_err(|error| Error::invalid_request("the PostgreSQL URL cannot be read").with_cause(error))?
        .options(KEEPALIVE)
        .log_statements(LevelFilter::Trace)
        .log_slow_statements(LevelFilter::Warn, SLOW_STATEMENT);
    if options.get_application_name().is_none() {
        options = options.application_name(&config.application_name);
    }
    if let Some(schema) = &config.schema {
        if !is_plain_name(schema) {
            return Err(Error::invalid_request(
                "the schema's name must be of lower-case letters, digits and _, and begin with a letter",
            ));
        }
        options = options.options([("search_path", schema.as_str())]);
    }
    let session = SessionOptions::Postgres(options.clone());
    // The pool would try until `acquire_timeout` and then say only that time ran out; this says why.
    session.open().await.map_err(cannot_open)?.close().await;
    // A session that waits for a lock may wait long, statements of the pool may not.
    let options = options.options([("statement_timeout", config.statement_timeout_ms.to_string())]);
    let pool = pool_options(config).connect_with(options).await.map_err(cannot_open)?;
    Ok(Pools::Postgres { pool, session })
}

/// Names that need no quotes, so that they can stand in `search_path` and DDL.
fn is_plain_name(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}
