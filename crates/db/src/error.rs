use sea_orm::{DbErr, RuntimeErr, SqlErr};
use sker_error::{Code, Error};
use sqlx::{error::DatabaseError, mysql::MySqlDatabaseError};

/// Maps a database error to a code. The cause is kept for the log; nothing of it is in the public message.
///
/// A unique or foreign key violation is a `conflict`, a missing record `not_found`, a connection that is broken or was
/// not to be had in time `unavailable`, a transaction or statement that the server gave up (deadlock, serialisation,
/// time) too; the rest is `internal`.
pub fn db_error(error: DbErr) -> Error {
    let public = match error.sql_err() {
        Some(SqlErr::UniqueConstraintViolation(_)) => Error::conflict("it exists already"),
        Some(SqlErr::ForeignKeyConstraintViolation(_)) => {
            Error::conflict("it refers to something that does not exist, or something still refers to it")
        }
        _ if is_unavailable(&error) => Error::unavailable("the database is not available"),
        _ => match &error {
            DbErr::RecordNotFound(_) | DbErr::RecordNotUpdated => Error::not_found("record"),
            _ => Error::new(Code::Internal, "an internal error occurred"),
        },
    };
    public.with_cause(error)
}

/// Whether a unique index refused the row.
pub fn is_unique_violation(error: &DbErr) -> bool {
    unique_violation(error).is_some()
}

/// What a unique index that refused a row says of itself: its columns (SQLite: `users.email`) or its name (PostgreSQL,
/// MySQL). An index whose name contains its columns' names can be told from others on all of them.
pub fn unique_violation(error: &DbErr) -> Option<String> {
    match error.sql_err() {
        Some(SqlErr::UniqueConstraintViolation(message)) => Some(message),
        _ => None,
    }
}

fn is_unavailable(error: &DbErr) -> bool {
    match sqlx_error(error) {
        _ if matches!(error, DbErr::ConnectionAcquire(_)) => true,
        Some(sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed) => true,
        Some(sqlx::Error::Database(error)) => is_unavailable_code(&**error),
        Some(error) => is_broken_connection(error),
        None => false,
    }
}

/// Whether the connection was broken when it was used: another one may do. Nothing says whether what was asked was done.
pub(crate) fn is_broken(error: &DbErr) -> bool {
    sqlx_error(error).is_some_and(is_broken_connection)
}

/// Whether the server does not let this user in, which no waiting mends.
pub(crate) fn is_refused(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(error) = error else { return false };
    match mysql_number(&**error) {
        // Wrong password, no right to the database, and a user who needs another way to log in.
        Some(number) => matches!(number, 1044 | 1045 | 1698),
        // Class 28: invalid authorization.
        None => error.code().is_some_and(|code| code.len() == 5 && code.starts_with("28")),
    }
}

fn sqlx_error(error: &DbErr) -> Option<&sqlx::Error> {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(error))
        | DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error)) => Some(error),
        _ => None,
    }
}

fn is_broken_connection(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) => true,
        sqlx::Error::Database(error) => match mysql_number(&**error) {
            // Server is going down, was killed (MariaDB, MySQL), was idle for too long.
            Some(number) => matches!(number, 1053 | 1927 | 3169 | 4031),
            // 57P01 and 57P02: ended by an administrator or by the crash of another process.
            None => error.code().is_some_and(|code| code.starts_with("08") || code == "57P01" || code == "57P02"),
        },
        _ => false,
    }
}

fn is_unavailable_code(error: &dyn DatabaseError) -> bool {
    if let Some(number) = mysql_number(error) {
        // Too many connections, lock not to be had in time, deadlock, statement broken off, and what broke the connection.
        return matches!(number, 1040 | 1203 | 1205 | 1213 | 1317 | 1969 | 3024 | 1053 | 1927 | 3169 | 4031);
    }
    let Some(code) = error.code() else { return false };
    // PostgreSQL: SQLSTATE, five characters (appendix A of its manual).
    if code.len() == 5 {
        return code.starts_with("08")
            || matches!(&*code, "40001" | "40P01" | "53300" | "55P03" | "57014" | "57P01" | "57P02" | "57P03");
    }
    // SQLite: extended result codes; the low byte is the primary one (https://sqlite.org/rescode.html).
    const BUSY: i64 = 5;
    const LOCKED: i64 = 6;
    const FULL: i64 = 13;
    code.parse::<i64>().is_ok_and(|code| matches!(code & 0xff, BUSY | LOCKED | FULL))
}

/// MySQL's own number of an error, which says more than its SQLSTATE.
fn mysql_number(error: &dyn DatabaseError) -> Option<u16> {
    error.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number)
}
