use std::{fs, io, path::Path, str::FromStr, time::Duration};

use sea_orm::{DatabaseConnection, DbBackend, SqlxPostgresConnector, SqlxSqliteConnector};
use sker_error::{Error, Result};
use sqlx::{
    ConnectOptions,
    postgres::{PgConnectOptions, PgPool, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous},
};
use tracing::log::LevelFilter;

use crate::DbConfig;

/// Statements slower than this are worth a warning; the text has placeholders, never values.
const SLOW_STATEMENT: Duration = Duration::from_secs(1);

/// The sqlx pools beneath SeaORM's connections.
pub(crate) enum Pools {
    Sqlite { writer: SqlitePool, reader: SqlitePool },
    Postgres(PgPool),
}

/// Connections of one pool, for metrics.
pub(crate) struct PoolState {
    pub(crate) pool: &'static str,
    pub(crate) open: u32,
    pub(crate) idle: usize,
}

impl Pools {
    /// Writer, reader and the SQL they speak.
    pub(crate) fn connections(&self) -> (DatabaseConnection, DatabaseConnection, DbBackend) {
        match self {
            Pools::Sqlite { writer, reader } => (
                SqlxSqliteConnector::from_sqlx_sqlite_pool(writer.clone()),
                SqlxSqliteConnector::from_sqlx_sqlite_pool(reader.clone()),
                DbBackend::Sqlite,
            ),
            Pools::Postgres(pool) => {
                let connection = SqlxPostgresConnector::from_sqlx_postgres_pool(pool.clone());
                (connection.clone(), connection, DbBackend::Postgres)
            }
        }
    }

    pub(crate) fn states(&self) -> Vec<PoolState> {
        match self {
            Pools::Sqlite { writer, reader } => vec![
                PoolState { pool: "write", open: writer.size(), idle: writer.num_idle() },
                PoolState { pool: "read", open: reader.size(), idle: reader.num_idle() },
            ],
            Pools::Postgres(pool) => vec![PoolState { pool: "write", open: pool.size(), idle: pool.num_idle() }],
        }
    }

    /// Readers first: the last connection to close moves the write-ahead log into the file.
    pub(crate) async fn close(&self) {
        match self {
            Pools::Sqlite { writer, reader } => {
                reader.close().await;
                writer.close().await;
            }
            Pools::Postgres(pool) => pool.close().await,
        }
    }
}

pub(crate) async fn open(config: &DbConfig) -> Result<Pools> {
    match config.url.split(':').next() {
        Some("sqlite") => open_sqlite(config).await,
        Some("postgres" | "postgresql") => open_postgres(config).await,
        _ => Err(Error::invalid_request("the database URL must begin with sqlite: or postgres:")),
    }
}

async fn open_sqlite(config: &DbConfig) -> Result<Pools> {
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

async fn open_postgres(config: &DbConfig) -> Result<Pools> {
    let mut options = PgConnectOptions::from_str(&config.url)
        .map_err(|error| Error::invalid_request("the PostgreSQL URL cannot be read").with_cause(error))?
        .application_name("sker")
        .log_statements(LevelFilter::Trace)
        .log_slow_statements(LevelFilter::Warn, SLOW_STATEMENT);
    if let Some(schema) = &config.schema {
        if !is_plain_name(schema) {
            return Err(Error::invalid_request(
                "the schema's name must be of lower-case letters, digits and _, and begin with a letter",
            ));
        }
        options = options.options([("search_path", schema.as_str())]);
    }
    let max_connections = config.max_connections.max(1);
    let pool = PgPoolOptions::new()
        .acquire_timeout(Duration::from_millis(config.acquire_timeout_ms))
        .test_before_acquire(false)
        .idle_timeout(Duration::from_millis(config.idle_timeout_ms))
        .max_lifetime(Duration::from_millis(config.max_lifetime_ms))
        .min_connections(max_connections.min(2))
        .max_connections(max_connections)
        .connect_with(options)
        .await
        .map_err(cannot_open)?;
    Ok(Pools::Postgres(pool))
}

/// Names that need no quotes, so that they can stand in `search_path` and DDL.
fn is_plain_name(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn cannot_open(error: sqlx::Error) -> Error {
    Error::unavailable("the database cannot be opened").with_cause(error)
}
