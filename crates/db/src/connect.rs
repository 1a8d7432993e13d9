use std::time::Duration;

use sea_orm::{DatabaseConnection, DbBackend, SqlxMySqlConnector, SqlxPostgresConnector, SqlxSqliteConnector};
use sker_error::{Error, Result};
use sqlx::{Connection, Database, MySqlPool, PgPool, Pool, SqlitePool, pool::PoolOptions};

use crate::{DbConfig, error::is_refused, mysql, postgres, session::SessionOptions, sqlite};

/// Statements slower than this are worth a warning; the text has placeholders, never values.
pub(crate) const SLOW_STATEMENT: Duration = Duration::from_secs(1);

/// A connection that nobody used for this long is asked whether it lives before it is used again. A busy one never is, so
/// that reads do not cost twice; and after a restart of the server those that were idle do not fail one by one.
const RESTED: Duration = Duration::from_secs(1);

/// How long such a connection may take to answer before it counts as dead.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// How many connections are kept open when nobody asks.
const WARM: u32 = 2;

/// The sqlx pools beneath SeaORM's connections.
pub(crate) enum Pools {
    Sqlite { writer: SqlitePool, reader: SqlitePool },
    Postgres { pool: PgPool, session: SessionOptions },
    MySql { pool: MySqlPool, session: SessionOptions },
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
            Pools::Postgres { pool, .. } => {
                let connection = SqlxPostgresConnector::from_sqlx_postgres_pool(pool.clone());
                (connection.clone(), connection, DbBackend::Postgres)
            }
            Pools::MySql { pool, .. } => {
                let connection = SqlxMySqlConnector::from_sqlx_mysql_pool(pool.clone());
                (connection.clone(), connection, DbBackend::MySql)
            }
        }
    }

    /// How to open a connection outside of the pool; `None` where nobody else can come to the database.
    pub(crate) fn session(&self) -> Option<&SessionOptions> {
        match self {
            Pools::Sqlite { .. } => None,
            Pools::Postgres { session, .. } | Pools::MySql { session, .. } => Some(session),
        }
    }

    pub(crate) fn states(&self) -> Vec<PoolState> {
        match self {
            Pools::Sqlite { writer, reader } => vec![state("write", writer), state("read", reader)],
            Pools::Postgres { pool, .. } => vec![state("write", pool)],
            Pools::MySql { pool, .. } => vec![state("write", pool)],
        }
    }

    /// Readers first: the last connection to close moves the write-ahead log into the file.
    pub(crate) async fn close(&self) {
        match self {
            Pools::Sqlite { writer, reader } => {
                reader.close().await;
                writer.close().await;
            }
            Pools::Postgres { pool, .. } => pool.close().await,
            Pools::MySql { pool, .. } => pool.close().await,
        }
    }
}

fn state<DB: Database>(name: &'static str, pool: &Pool<DB>) -> PoolState {
    PoolState { pool: name, open: pool.size(), idle: pool.num_idle() }
}

pub(crate) async fn open(config: &DbConfig) -> Result<Pools> {
    match config.url.split(':').next() {
        Some("sqlite") => sqlite::open(config).await,
        Some("postgres" | "postgresql") => postgres::open(config).await,
        Some("mysql" | "mariadb") => mysql::open(config).await,
        _ => Err(Error::invalid_request("the database URL must begin with sqlite:, postgres: or mysql:")),
    }
}

/// The pool of a server's connections.
pub(crate) fn pool_options<DB: Database>(config: &DbConfig) -> PoolOptions<DB> {
    let max_connections = config.max_connections.max(1);
    PoolOptions::new()
        .acquire_timeout(Duration::from_millis(config.acquire_timeout_ms))
        .test_before_acquire(false)
        .before_acquire(|connection: &mut DB::Connection, meta| {
            Box::pin(async move {
                if meta.idle_for < RESTED {
                    return Ok(true);
                }
                Ok(matches!(tokio::time::timeout(ANSWER_LIMIT, connection.ping()).await, Ok(Ok(()))))
            })
        })
        .idle_timeout(Duration::from_millis(config.idle_timeout_ms))
        .max_lifetime(Duration::from_millis(config.max_lifetime_ms))
        .min_connections(max_connections.min(WARM))
        .max_connections(max_connections)
}

/// What stands between us and an open database: something in the configuration, or a server that is not there (yet).
pub(crate) fn cannot_open(error: sqlx::Error) -> Error {
    let public = match &error {
        sqlx::Error::Configuration(_) => Error::invalid_request("the database URL asks for what cannot be done"),
        error if is_refused(error) => Error::invalid_request("the database refuses the user or the password"),
        _ => Error::unavailable("the database cannot be opened"),
    };
    public.with_cause(error)
}
