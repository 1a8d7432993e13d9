//! SQLite: one file, one connection that writes, a pool that reads.

use std::{fs, io, path::Path, str::FromStr, time::Duration};

use sker_error::{Error, Result};
use sqlx::{
    ConnectOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tracing::log::LevelFilter;

use crate::{
    DbConfig,
    connect::{Pools, SLOW_STATEMENT, cannot_open},
};

pub(crate) async fn open(config: &DbConfig) -> Result<Pools> {
    if config.url.contains(":memory:") || config.url.contains("mode=memory") {
        return Err(Error::invalid_request("SQLite in memory cannot be shared by a writer and readers; name a file"));
    }
    let options = SqliteConnectOptions::from_str(&config.url)
        .map_err(|error| Error::invalid_request("the SQLite URL cannot be read").with_cause(error))?
        .foreign_keys(true)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(Duration::from_millis(config.busy_timeout_ms))
        .log_statements(LevelFilter::Trace)
        .log_slow_statements(LevelFilter::Warn, SLOW_STATEMENT);
    create_file(options.get_filename()).map_err(|error| {
        Error::unavailable(format!("cannot make the database file {}", options.get_filename().display()))
            .with_cause(error)
    })?;
    let pool = || {
        SqlitePoolOptions::new()
            .acquire_timeout(Duration::from_millis(config.acquire_timeout_ms))
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
    };
    // The writer comes first: it is what turns a new file to WAL.
    let writer = options
        .clone()
        .journal_mode(SqliteJournalMode::Wal)
        // A log that grew under a long read shrinks again.
        .pragma("journal_size_limit", "67108864");
    let writer = pool().min_connections(1).max_connections(1).connect_with(writer).await.map_err(cannot_open)?;
    let reader = options.pragma("query_only", "ON");
    let reader = pool().min_connections(1).max_connections(config.max_connections.max(1)).connect_with(reader).await;
    match reader {
        Ok(reader) => Ok(Pools::Sqlite { writer, reader }),
        Err(error) => {
            writer.close().await;
            Err(cannot_open(error))
        }
    }
}

/// Makes the file before SQLite does, which knows no modes; its `-wal` and `-shm` files take over the mode.
fn create_file(path: &Path) -> io::Result<()> {
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(directory)?;
    }
    let mut options = fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}
