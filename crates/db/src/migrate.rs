use std::time::Duration;

use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, Statement,
    sea_query::{ColumnType, IndexCreateStatement, MysqlQueryBuilder, TableCreateStatement},
};
use sea_orm_migration::{MigratorTrait, SchemaManager};
use sker_error::{Error, Result};

use crate::{
    Db, db_error,
    session::{Session, get_lock},
};

/// The first half of the advisory lock's key, "SKER"; the second is a hash of the schema's name.
const LOCK_CLASS: i32 = i32::from_be_bytes(*b"SKER");

/// How long a replica waits for the one that migrates; MySQL only.
const LOCK_PATIENCE: Duration = Duration::from_secs(600);

impl Db {
    /// Applies what is pending. Any number of replicas may do so at once; they take turns.
    ///
    /// PostgreSQL and SQLite: all or nothing, a process that dies half way leaves nothing behind. MySQL commits every
    /// change of the schema at once, so there a migration may be left half done. The next start does it again from its
    /// beginning, and a migration must bear that: [`create_table`] and [`create_index`] do.
    pub async fn migrate<M: MigratorTrait>(&self) -> Result<()> {
        if self.inner.backend == DbBackend::MySql {
            return self.migrate_under_lock::<M>().await;
        }
        let transaction = self.begin().await?;
        if self.inner.backend == DbBackend::Postgres {
            transaction.execute_unprepared("SET LOCAL statement_timeout = 0").await.map_err(db_error)?;
            let schema = self.inner.schema.clone().unwrap_or_default();
            ask(&transaction, "SELECT pg_advisory_xact_lock($1, hashtext($2))", [LOCK_CLASS.into(), schema.into()])
                .await?;
            self.create_schema(&transaction).await?;
        }
        M::up(transaction.inner().map_err(db_error)?, None).await.map_err(db_error)?;
        transaction.commit().await.map_err(db_error)
    }

    /// Makes the schema when there is none. Asks first: a role that may use a schema often may not make one, and
    /// `IF NOT EXISTS` looks at rights before it looks for the schema.
    async fn create_schema(&self, connection: &impl ConnectionTrait) -> Result<()> {
        let Some(schema) = &self.inner.schema else { return Ok(()) };
        let known = "SELECT 1 FROM pg_namespace WHERE nspname = $1";
        if !ask(connection, known, [schema.as_str().into()]).await? {
            let create = format!("CREATE SCHEMA IF NOT EXISTS \"{schema}\"");
            connection.execute_unprepared(&create).await.map_err(db_error)?;
        }
        Ok(())
    }

    /// The lock is a session's and stands on a connection of its own.
    async fn migrate_under_lock<M: MigratorTrait>(&self) -> Result<()> {
        let away = |error: sqlx::Error| Error::unavailable("the database is not available").with_cause(error);
        let Some(options) = self.inner.pools.session() else {
            return Err(Error::internal("no session for migrations"));
        };
        let mut session = options.open().await.map_err(away)?;
        if let Session::MySql(connection) = &mut session
            && !get_lock(connection, "sker/migrate", LOCK_PATIENCE).await.map_err(away)?
        {
            return Err(Error::unavailable("another replica migrates the database and does not come to an end"));
        }
        let migrated = M::up(self.inner.writer.inner(), None).await.map_err(db_error);
        session.close().await;
        migrated
    }
}

async fn ask<const N: usize>(
    connection: &impl ConnectionTrait,
    query: &str,
    values: [sea_orm::Value; N],
) -> Result<bool> {
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, query, values);
    Ok(connection.query_one_raw(statement).await.map_err(db_error)?.is_some())
}

/// Makes a table unless it is there: the way that a migration can be done again after it was left half done. On MySQL it
/// tells texts apart as the other databases do, by their characters, upper and lower case included, and keeps times
/// ([`crate::column::time`]) as `datetime(6)`.
pub async fn create_table(
    manager: &SchemaManager<'_>,
    mut table: TableCreateStatement,
) -> std::result::Result<(), DbErr> {
    table.if_not_exists();
    if manager.get_database_backend() != DbBackend::MySql {
        return manager.create_table(table).await;
    }
    table.engine("InnoDB").character_set("utf8mb4").collate("utf8mb4_bin");
    let mut sql = table.to_string(MysqlQueryBuilder);
    for column in table.get_columns() {
        // sea-query would make it a TIMESTAMP, which ends in 2038 and knows no fractions of a second.
        if let Some(ColumnType::TimestampWithTimeZone) = column.get_column_type() {
            let name = column.get_column_name();
            sql = sql.replacen(&format!("`{name}` timestamp"), &format!("`{name}` datetime(6)"), 1);
        }
    }
    manager.get_connection().execute_unprepared(&sql).await?;
    Ok(())
}

/// Makes an index of a table unless it is there.
pub async fn create_index(
    manager: &SchemaManager<'_>,
    table: &str,
    name: &str,
    mut index: IndexCreateStatement,
) -> std::result::Result<(), DbErr> {
    if manager.has_index(table, name).await? {
        return Ok(());
    }
    manager.create_index(index.name(name).table(table.to_owned()).take()).await
}
