//! Connections, pools and portable columns over SeaORM and sqlx.
//!
//! A service opens one [`Db`] and does not know which server stands behind it:
//!
//! - **SQLite**: one file per service in WAL mode with `synchronous=FULL`. Exactly one connection writes, and its
//!   transactions begin with `BEGIN IMMEDIATE`; a pool beside it can only read (`query_only`).
//! - **PostgreSQL**: one pool; `search_path` decides the schema, so that no entity names one.
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

pub mod column;
mod config;
mod connect;
mod error;
mod metrics;

use std::{fmt, sync::Arc, time::Instant};

pub use config::DbConfig;
pub use error::{db_error, is_unique_violation, unique_violation};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, SqliteTransactionMode, Statement,
    TransactionOptions, TransactionTrait,
};
use sea_orm_migration::MigratorTrait;
use sker_error::{Error, Result};

use crate::connect::Pools;

/// The first half of the advisory lock's key, "SKER"; the second is a hash of the schema's name.
const MIGRATION_LOCK_CLASS: i32 = i32::from_be_bytes(*b"SKER");

/// A database: where to write, and where to read what may be a moment older than an open transaction.
///
/// Cheap to clone. Dropping the last clone closes the connections in the background; [`Db::close`] waits for it.
#[derive(Clone)]
pub struct Db {
    inner: Arc<Inner>,
}

struct Inner {
    writer: DatabaseConnection,
    reader: DatabaseConnection,
    backend: DbBackend,
    schema: Option<String>,
    pools: Pools,
    begin_wait: prometheus::Histogram,
}

impl Db {
    /// Opens a database. A missing SQLite file is made (mode 0600) with its directory.
    ///
    /// # Errors
    /// `invalid_request` for a URL or schema that cannot be used, `unavailable` when the server does not answer.
    pub async fn connect(config: &DbConfig) -> Result<Self> {
        let pools = connect::open(config).await?;
        let (writer, reader, backend) = pools.connections();
        Ok(Db {
            inner: Arc::new(Inner {
                writer,
                reader,
                backend,
                schema: config.schema.clone(),
                pools,
                begin_wait: metrics::begin_wait()?,
            }),
        })
    }

    /// For single statements that change something; everything else that writes goes through [`Db::begin`].
    pub fn write(&self) -> &DatabaseConnection {
        &self.inner.writer
    }

    /// For reads outside of a transaction. Sees everything committed before the read began.
    pub fn read(&self) -> &DatabaseConnection {
        &self.inner.reader
    }

    /// Which SQL is spoken.
    pub fn backend(&self) -> DbBackend {
        self.inner.backend
    }

    /// Begins a transaction that may write: `BEGIN IMMEDIATE` on SQLite, so that it cannot fail half way because
    /// another one writes. Dropping it rolls back.
    pub async fn begin(&self) -> Result<DatabaseTransaction> {
        let started = Instant::now();
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let transaction = self.inner.writer.begin_with_options(options).await.map_err(db_error)?;
        self.inner.begin_wait.observe(started.elapsed().as_secs_f64());
        Ok(transaction)
    }

    /// Applies what is pending, all or nothing: a process that dies half way leaves nothing behind. Any number of
    /// replicas may do so at once; on PostgreSQL they take turns under an advisory lock of the schema.
    pub async fn migrate<M: MigratorTrait>(&self) -> Result<()> {
        let transaction = self.begin().await?;
        if self.inner.backend == DbBackend::Postgres {
            let lock = Statement::from_sql_and_values(
                DbBackend::Postgres,
                "SELECT pg_advisory_xact_lock($1, hashtext($2))",
                [MIGRATION_LOCK_CLASS.into(), self.inner.schema.clone().unwrap_or_default().into()],
            );
            transaction.query_one_raw(lock).await.map_err(db_error)?;
            if let Some(schema) = &self.inner.schema {
                let create = format!("CREATE SCHEMA IF NOT EXISTS \"{schema}\"");
                transaction.execute_unprepared(&create).await.map_err(db_error)?;
            }
        }
        M::up(&transaction, None).await.map_err(db_error)?;
        transaction.commit().await.map_err(db_error)
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
