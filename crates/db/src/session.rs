//! One connection of its own, outside of the pool, for locks that a session holds.

use std::{io, time::Duration};

use sqlx::{
    ConnectOptions, Connection, MySqlConnection, PgConnection, mysql::MySqlConnectOptions, postgres::PgConnectOptions,
};
use tokio::time::timeout;

/// A server that does not answer a trivial statement for this long counts as gone.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// How to open a [`Session`].
#[derive(Clone)]
pub(crate) enum SessionOptions {
    Postgres(PgConnectOptions),
    MySql(MySqlConnectOptions),
}

/// A connection that may hold named locks. They are given back when it is closed, and when the server notices that it is
/// gone.
pub(crate) enum Session {
    Postgres(PgConnection),
    MySql(MySqlConnection),
}

impl SessionOptions {
    pub(crate) async fn open(&self) -> sqlx::Result<Session> {
        in_time(async {
            Ok(match self {
                SessionOptions::Postgres(options) => Session::Postgres(options.connect().await?),
                SessionOptions::MySql(options) => Session::MySql(crate::mysql::connect(options).await?),
            })
        })
        .await
    }
}

impl Session {
    /// Takes a lock unless another session has it. A lock's name is known to this database only.
    pub(crate) async fn try_lock(&mut self, name: &str) -> sqlx::Result<bool> {
        in_time(async {
            match self {
                Session::Postgres(connection) => {
                    let query = "SELECT pg_try_advisory_lock(hashtextextended($1, 0))";
                    sqlx::query_scalar::<_, bool>(query).bind(name).fetch_one(connection).await
                }
                Session::MySql(connection) => Ok(get_lock(connection, name, Duration::ZERO).await?),
            }
        })
        .await
    }

    /// Whether the connection lives, and with it the locks that it holds.
    pub(crate) async fn check(&mut self) -> sqlx::Result<()> {
        in_time(async {
            match self {
                Session::Postgres(connection) => connection.ping().await,
                Session::MySql(connection) => connection.ping().await,
            }
        })
        .await
    }

    /// Closes the connection, which gives its locks back at once.
    pub(crate) async fn close(self) {
        // A connection that cannot be closed in order is gone, and that is what was wanted.
        let _ = in_time(async {
            match self {
                Session::Postgres(connection) => connection.close().await,
                Session::MySql(connection) => connection.close().await,
            }
        })
        .await;
    }
}

/// Waits for a lock on MySQL. Its locks are known to the whole server and their names have at most 64 characters, so the
/// name is a hash of the database's and ours.
pub(crate) async fn get_lock(connection: &mut MySqlConnection, name: &str, patience: Duration) -> sqlx::Result<bool> {
    let query = "SELECT GET_LOCK(SHA1(CONCAT_WS('/', DATABASE(), ?)), ?)";
    let seconds = i64::try_from(patience.as_secs()).unwrap_or(i64::MAX);
    let got: Option<i64> = sqlx::query_scalar(query).bind(name).bind(seconds).fetch_one(connection).await?;
    Ok(got == Some(1))
}

async fn in_time<T>(call: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    timeout(ANSWER_LIMIT, call).await.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
}
