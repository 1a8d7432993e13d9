use sea_orm::{DbErr, RuntimeErr, SqlErr};
use sker_error::{Code, Error};

/// Maps a database error to a code. The cause is kept for the log; nothing of it is in the public message.
///
/// A unique or foreign key violation is a `conflict`, a missing record `not_found`, a connection that is broken or was
/// not to be had in time `unavailable`, a transaction that the server gave up (deadlock, serialisation) too; the rest is
/// `internal`.
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

/// What a unique index that refused a row says of itself: its columns (SQLite: `users.email`) or its name (PostgreSQL).
/// An index whose name contains its columns' names can be told from others on both.
pub fn unique_violation(error: &DbErr) -> Option<String> {
    match error.sql_err() {
        Some(SqlErr::UniqueConstraintViolation(message)) => Some(message),
        _ => None,
    }
}

fn is_unavailable(error: &DbErr) -> bool {
    match error {
        DbErr::ConnectionAcquire(_) => true,
        DbErr::Conn(RuntimeErr::SqlxError(error))
        | DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error)) => match &**error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => true,
            sqlx::Error::Database(error) => error.code().is_some_and(|code| is_unavailable_code(&code)),
            _ => false,
        },
        _ => false,
    }
}

fn is_unavailable_code(code: &str) -> bool {
    // PostgreSQL: SQLSTATE, five characters (appendix A of its manual).
    if code.len() == 5 {
        return code.starts_with("08")
            || matches!(code, "40001" | "40P01" | "53300" | "55P03" | "57P01" | "57P02" | "57P03");
    }
    // SQLite: extended result codes; the low byte is the primary one (https://sqlite.org/rescode.html).
    const BUSY: i64 = 5;
    const LOCKED: i64 = 6;
    const FULL: i64 = 13;
    code.parse::<i64>().is_ok_and(|code| matches!(code & 0xff, BUSY | LOCKED | FULL))
}
