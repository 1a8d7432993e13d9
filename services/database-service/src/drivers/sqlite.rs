//! SQLite files: opened read-only, on a connection of its own, which is closed again.

use std::{io, path::PathBuf, str::FromStr, time::Duration};

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use sqlx::{
    ConnectOptions, Connection, Row, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteRow},
};
use tokio::time::Instant;
use tracing::log::LevelFilter;

use crate::app::{Depth, Driver, Failure, Observation, Progress, Session, Step, Target};

/// How long to wait for somebody else's lock; a lock that is held longer is worth telling.
const BUSY: Duration = Duration::from_millis(500);

/// `quick_check` reads the whole file: beyond this it is not worth its cost.
const LARGEST_QUICK_CHECK: u64 = 16 * 1024 * 1024;

/// How many steps of its virtual machine SQLite makes between two looks at the clock.
const STEPS_PER_LOOK: i32 = 10_000;

/// Checks SQLite files.
pub struct Sqlite;

#[async_trait]
impl Driver for Sqlite {
    async fn connect(
        &self,
        target: &Target,
        deadline: Instant,
        progress: &Progress,
    ) -> Result<Box<dyn Session>, Failure> {
        let options = options(target.url()).map_err(|message| progress.failure(message))?;
        let bytes = file_size(options.get_filename().to_owned()).await.map_err(|message| progress.failure(message))?;

        progress.enter(Step::Connect);
        let mut connection = options.connect().await.map_err(|error| progress.failure(explain(&error)))?;
        interrupt_at(&mut connection, deadline).await.map_err(|error| progress.failure(explain(&error)))?;
        Ok(Box::new(File { connection, bytes }))
    }

    fn check_url(&self, url: &str) -> Result<(), String> {
        options(url).map(drop)
    }
}

/// An open file.
struct File {
    connection: SqliteConnection,
    bytes: u64,
}

#[async_trait]
impl Session for File {
    async fn look(&mut self, depth: Depth, progress: &Progress) -> Result<Observation, Failure> {
        let found = query(&mut self.connection, depth, self.bytes).await;
        let (version, details) = found.map_err(|error| progress.failure(error))?;
        Ok(Observation { version: Some(version), details, ..Observation::default() })
    }

    /// An open file would go on to be read when another one has its name.
    fn is_lasting(&self) -> bool {
        false
    }

    async fn close(self: Box<Self>) {
        // What was only read needs no orderly end.
        let _ = self.connection.close().await;
    }
}

fn options(url: &str) -> Result<SqliteConnectOptions, String> {
    if !url.starts_with("sqlite:") {
        return Err("must begin with sqlite:".to_owned());
    }
    let options = SqliteConnectOptions::from_str(url).map_err(|_| "is not a SQLite URL".to_owned())?;
    let name = options.get_filename();
    if url.contains(":memory:") || url.contains("mode=memory") || name.as_os_str().is_empty() {
        return Err("must name a file".to_owned());
    }
    Ok(options
        .read_only(true)
        .create_if_missing(false)
        .immutable(false)
        .busy_timeout(BUSY)
        .log_statements(LevelFilter::Trace)
        .log_slow_statements(LevelFilter::Off, Duration::ZERO))
}

async fn file_size(path: PathBuf) -> Result<u64, String> {
    match tokio::fs::metadata(path).await {
        Ok(metadata) if !metadata.is_file() => Err("it is not a file".to_owned()),
        // SQLite takes an empty file for an empty database; a service's database is never empty.
        Ok(metadata) if metadata.len() == 0 => Err("the file is empty".to_owned()),
        Ok(metadata) => Ok(metadata.len()),
        Err(error) => Err(match error.kind() {
            io::ErrorKind::NotFound => "the file does not exist".to_owned(),
            io::ErrorKind::PermissionDenied => "the file may not be read".to_owned(),
            kind => format!("the file cannot be reached: {kind}"),
        }),
    }
}

/// SQLite works in a thread of its own, which dropping a query does not stop.
async fn interrupt_at(connection: &mut SqliteConnection, deadline: Instant) -> sqlx::Result<()> {
    let mut handle = connection.lock_handle().await?;
    handle.set_progress_handler(STEPS_PER_LOOK, move || Instant::now() < deadline);
    Ok(())
}

/// Reads the schema, which makes SQLite look at the header and at the first pages, and figures about the file.
async fn query(
    connection: &mut SqliteConnection,
    depth: Depth,
    bytes: u64,
) -> Result<(String, Map<String, Value>), String> {
    let row = one(connection, "SELECT sqlite_version(), count(*) FROM sqlite_schema WHERE type = 'table'").await?;
    let (version, tables): (String, i64) = (read(&row, 0)?, read(&row, 1)?);
    let mut details = Map::from_iter([("size_bytes".to_owned(), json!(bytes)), ("tables".to_owned(), json!(tables))]);
    for pragma in ["page_size", "page_count", "freelist_count", "schema_version", "user_version"] {
        // A pragma's name cannot be bound; these are literals.
        let row = one(connection, sqlx::AssertSqlSafe(format!("PRAGMA {pragma}"))).await?;
        details.insert(pragma.to_owned(), json!(read::<i64>(&row, 0)?));
    }
    let row = one(connection, "PRAGMA journal_mode").await?;
    details.insert("journal_mode".to_owned(), json!(read::<String>(&row, 0)?));
    if depth == Depth::Deep {
        let verdict = if bytes > LARGEST_QUICK_CHECK { "skipped".to_owned() } else { quick_check(connection).await? };
        details.insert("quick_check".to_owned(), json!(verdict));
    }
    Ok((version, details))
}

async fn quick_check(connection: &mut SqliteConnection) -> Result<String, String> {
    let row = one(connection, "PRAGMA quick_check(1)").await?;
    let verdict: String = read(&row, 0)?;
    match verdict.as_str() {
        "ok" => Ok(verdict),
        // The finding names tables and pages, which are for those who repair the file.
        _ => {
            tracing::error!(finding = verdict, "a SQLite file is damaged");
            Err("the file is damaged: quick_check fails".to_owned())
        }
    }
}

async fn one(connection: &mut SqliteConnection, sql: impl sqlx::SqlSafeStr) -> Result<SqliteRow, String> {
    sqlx::query(sql).fetch_one(connection).await.map_err(|error| explain(&error))
}

fn read<'r, T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>>(
    row: &'r SqliteRow,
    column: usize,
) -> Result<T, String> {
    row.try_get(column).map_err(|error| explain(&error))
}

/// SQLite's result codes in words (https://www.sqlite.org/rescode.html); its own messages may name paths and tables.
fn explain(error: &sqlx::Error) -> String {
    let code = error.as_database_error().and_then(|error| error.code()).and_then(|code| code.parse::<u32>().ok());
    // The low byte is the primary code.
    match code.map(|code| code & 0xff) {
        Some(5 | 6) => "the file is locked by somebody else",
        Some(8) => "the file may not be written, which its journal needs",
        Some(9) => "no answer within the deadline",
        Some(10) => "the file cannot be read: an I/O error",
        Some(11) => "the file is damaged",
        Some(14) => "the file cannot be opened",
        Some(26) => "the file is not a database, or it is damaged or encrypted",
        _ => "SQLite refuses",
    }
    .to_owned()
}
