//! Connections, pools and portable columns over SeaORM and sqlx.
//!
//! A service opens one [`Db`] and does not know which server stands behind it:
//!
//! - **SQLite**: one file per service in WAL mode with `synchronous=FULL`. Exactly one connection writes, and its
//!   transactions begin with `BEGIN IMMEDIATE`; a pool beside it can only read (`query_only`).
//! - **PostgreSQL**: one pool; `search_path` decides the schema, so that no entity names one.
//! - **MySQL and MariaDB**: one pool; strict mode, UTC, utf8mb4, `READ COMMITTED`, whatever the server's configuration says.
//!
//! ```no_run
//! # use sea_orm_migration::MigratorTrait;
//! # async fn example<Migrator: MigratorTrait>() -> sker_error::Result<()> {
//! use sea_orm::ConnectionTrait;
//! use sker_db::{Db, DbConfig, db_error};
//!
//! let db = Db::connect(&DbConfig::sqlite("/var/lib/sker/store.db")).await?;
//! db.migrate::<Migrator>().await?;
//! let tx = db.begin().await?;
//! tx.execute_unprepared("UPDATE projects SET name = 'x'").await.map_err(db_error)?;
//! tx.commit().await.map_err(db_error)?;
//! # Ok(())
//! # }
//! ```
//!
//! While a transaction is open, read through the transaction, not through [`Db::write`]: on SQLite the writer has one
//! connection, and the transaction holds it.

mod access;
pub mod column;
mod config;
mod connect;
mod error;
mod leader;
mod metrics;
mod migrate;
mod mysql;
mod postgres;
mod session;
mod sqlite;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

pub use access::{Access, Transaction};
pub use config::DbConfig;
pub use error::{db_error, is_unique_violation, unique_violation};
pub use migrate::{create_index, create_table};
use sea_orm::{
    AccessMode, ConnectionTrait, DbBackend, IsolationLevel, SqliteTransactionMode, Statement, TransactionOptions,
};
use sker_error::{Code, Error, Result};

use crate::connect::Pools;

/// A database: where to write, and where to read what may be a moment older than an open transaction.
///
/// Cheap to clone. Dropping the last clone closes the connections in the background; [`Db::close`] waits for it.
#[derive(Clone)]
pub struct Db {
    inner: Arc<Inner>,
}

struct Inner {
    writer: Access,
    reader: Access,
    backend: DbBackend,
    schema: Option<String>,
    pools: Pools,
    begin_wait: prometheus::Histogram,
}

impl Db {
    /// Opens a database. A missing SQLite file is made (mode 0600) with its directory.
    ///
    /// # Errors
    /// `invalid_request` for a URL or schema that cannot be used and for a user that the server does not let in,
    /// `unavailable` when the server does not answer.
    pub async fn connect(config: &DbConfig) -> Result<Self> {
        let pools = connect::open(config).await?;
        let (writer, reader, backend) = pools.connections();
        // A file's connections do not break.
        let size = if backend == DbBackend::Sqlite { 0 } else { config.max_connections.max(1) };
        Ok(Db {
            inner: Arc::new(Inner {
                writer: Access::writer(writer, size),
                reader: Access::reader(reader, size),
                backend,
                schema: config.schema.clone(),
                pools,
                begin_wait: metrics::begin_wait()?,
            }),
        })
    }

    /// [`Self::connect`], tried again with growing pauses while the server is not available; after `limit` no new try
    /// begins. A service may start before its database does.
    pub async fn connect_within(config: &DbConfig, limit: Duration) -> Result<Self> {
        const LONGEST_PAUSE: Duration = Duration::from_secs(2);
        let deadline = Instant::now() + limit;
        let mut pause = Duration::from_millis(100);
        loop {
            let error = match Self::connect(config).await {
                Err(error) if error.code() == Code::Unavailable => error,
                done => return done,
            };
            if Instant::now() + pause > deadline {
                return Err(error);
            }
            let cause = error.cause().map(ToString::to_string).unwrap_or_default();
            tracing::warn!(db.error = cause, "the database does not answer yet; it is tried again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// For single statements that change something; everything else that writes goes through [`Db::begin`]. One that fails
    /// because its connection broke is `unavailable` ([`db_error`]) and not tried again: it may have been done.
    pub fn write(&self) -> &Access {
        &self.inner.writer
    }

    /// For reads outside of a transaction. Sees everything committed before the read began. A read on a broken connection
    /// is tried again on another.
    pub fn read(&self) -> &Access {
        &self.inner.reader
    }

    /// Which SQL is spoken.
    pub fn backend(&self) -> DbBackend {
        self.inner.backend
    }

    /// Begins a transaction that may write: `BEGIN IMMEDIATE` on SQLite, so that it cannot fail half way because
    /// another one writes. Dropping it rolls back.
    pub async fn begin(&self) -> Result<Transaction> {
        let started = Instant::now();
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let transaction = self.inner.writer.begin(options).await.map_err(db_error)?;
        self.inner.begin_wait.observe(started.elapsed().as_secs_f64());
        Ok(transaction)
    }

    /// Begins a transaction of reads that all see one state, and that cannot write.
    pub async fn begin_read(&self) -> Result<Transaction> {
        let options = match self.inner.backend {
            // Its transactions see one state and its readers cannot write in any case; asked for it, it only complains.
            DbBackend::Sqlite => TransactionOptions::default(),
            _ => TransactionOptions {
                isolation_level: Some(IsolationLevel::RepeatableRead),
                access_mode: Some(AccessMode::ReadOnly),
                ..TransactionOptions::default()
            },
        };
        self.inner.reader.begin(options).await.map_err(db_error)
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<()> {
        let query = match self.inner.backend {
            // A constant would not touch the file.
            DbBackend::Sqlite => "SELECT count(*) FROM sqlite_schema",
            _ => "SELECT 1",
        };
        let statement = Statement::from_string(self.inner.backend, query);
        self.inner.reader.query_one_raw(statement).await.map_err(db_error)?;
        Ok(())
    }

    /// Closes every connection once it is free. Later calls answer `unavailable`.
    pub async fn close(&self) {
        self.inner.pools.close().await;
    }

    /// Adds `db_begin_wait_seconds` and `db_pool_connections{pool,state}` to a service's metrics.
    ///
    /// # Errors
    /// `internal` when the registry has metrics of these names already.
    pub fn register_metrics(&self, registry: &prometheus::Registry) -> Result<()> {
        let collector = metrics::PoolCollector::new(Arc::downgrade(&self.inner)).map_err(Error::internal)?;
        registry.register(Box::new(self.inner.begin_wait.clone())).map_err(Error::internal)?;
        registry.register(Box::new(collector)).map_err(Error::internal)
    }
}

impl fmt::Debug for Db {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Db").field("backend", &self.inner.backend).finish_non_exhaustive()
    }
}
