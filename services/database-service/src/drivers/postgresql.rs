//! PostgreSQL 12 and later.

use std::{str::FromStr, time::Duration};

use async_trait::async_trait;
use serde_json::{Map, json};
use sqlx::{
    ConnectOptions, Connection, PgConnection, Row,
    postgres::{PgConnectOptions, PgRow, PgSslMode},
};
use tokio::time::Instant;
use tracing::log::LevelFilter;

use super::network::{self, Address, CLIENT_NAME};
use crate::app::{Depth, Driver, Failure, Observation, Progress, Session, Step, Target};

/// A check shall never be what somebody else waits for: it only reads, and gives up on locks and on its own queries.
const SETTINGS: [(&str, &str); 3] =
    [("default_transaction_read_only", "on"), ("statement_timeout", "2s"), ("lock_timeout", "200ms")];

/// One round trip, no table. The server counts its own uptime, so that clocks need not agree.
const LIGHT: &str = "SELECT pg_is_in_recovery(), current_setting('server_version_num')::int4, \
     extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::int8";

/// Checks PostgreSQL servers.
pub struct Postgresql;

#[async_trait]
impl Driver for Postgresql {
    async fn connect(&self, target: &Target, _: Instant, progress: &Progress) -> Result<Box<dyn Session>, Failure> {
        let (address, options) = options(target.url()).map_err(|message| progress.failure(message))?;
        network::resolve(&address, progress).await?;
        match options.connect().await {
            Ok(connection) => Ok(Box::new(Server { connection })),
            Err(error) => Err(refusal(&error, progress)),
        }
    }

    fn check_url(&self, url: &str) -> Result<(), String> {
        options(url).map(drop)
    }
}

struct Server {
    connection: PgConnection,
}

#[async_trait]
impl Session for Server {
    async fn look(&mut self, _: Depth, progress: &Progress) -> Result<Observation, Failure> {
        let found = light(&mut self.connection).await.map_err(|error| progress.failure(explain(&error)))?;
        let role = if found.in_recovery { "standby" } else { "primary" };
        Ok(Observation {
            version: Some(version(found.version)),
            role: Some(role.to_owned()),
            uptime_s: u64::try_from(found.uptime_s).ok(),
            details: Map::from_iter([("server_version_num".to_owned(), json!(found.version))]),
            ..Observation::default()
        })
    }

    async fn close(self: Box<Self>) {
        let _ = self.connection.close().await;
    }
}

struct Light {
    in_recovery: bool,
    version: i32,
    uptime_s: i64,
}

async fn light(connection: &mut PgConnection) -> sqlx::Result<Light> {
    // The simple protocol: a prepared statement would be one more round trip, and is not understood by every pooler.
    let row: PgRow = sqlx::raw_sql(LIGHT).fetch_one(connection).await?;
    Ok(Light { in_recovery: row.try_get(0)?, version: row.try_get(1)?, uptime_s: row.try_get(2)? })
}

fn options(url: &str) -> Result<(Address, PgConnectOptions), String> {
    let parameters = ["sslmode", "sslrootcert", "sslcert", "sslkey"];
    let address = network::address(url, &["postgres", "postgresql"], &parameters, 5432)?;
    let options = PgConnectOptions::from_str(url).map_err(|_| "is not a PostgreSQL URL".to_owned())?;
    // What is not said must not come from the environment or from a password file of this service's user: a URL that
    // is only tried would be told the password of another server.
    let user = if address.user.is_empty() { "postgres" } else { &address.user };
    let database = address.url.path().trim_start_matches('/');
    let options = options
        .host(&address.host)
        .port(address.port)
        .username(user)
        .password(address.password.as_deref().unwrap_or_default())
        .application_name(CLIENT_NAME)
        .options(SETTINGS)
        .log_statements(LevelFilter::Trace)
        .log_slow_statements(LevelFilter::Off, Duration::ZERO);
    let has_mode = address.url.query_pairs().any(|(name, _)| name == "sslmode");
    let options = if has_mode { options } else { options.ssl_mode(PgSslMode::Prefer) };
    let options = if database.is_empty() { options.database(user) } else { options };
    Ok((address, options))
}

/// A server that does not let one in says so itself, or its absence does.
fn refusal(error: &sqlx::Error, progress: &Progress) -> Failure {
    match error {
        sqlx::Error::Io(error) => network::connect_failure(error.kind(), progress),
        sqlx::Error::Tls(_) => {
            progress.enter(Step::Tls);
            progress.failure("the server does not offer TLS, or its certificate is not accepted")
        }
        sqlx::Error::Database(_) => {
            if !is_no_room(error) {
                progress.enter(Step::Authenticate);
            }
            progress.failure(explain(error))
        }
        _ => {
            progress.enter(Step::Authenticate);
            progress.failure("the server speaks in a way that is not understood")
        }
    }
}

/// It refuses everybody at the moment.
fn is_no_room(error: &sqlx::Error) -> bool {
    matches!(code(error).as_deref(), Some("53300" | "57P01" | "57P02" | "57P03"))
}

fn code(error: &sqlx::Error) -> Option<String> {
    error.as_database_error()?.code().map(Into::into)
}

/// SQLSTATE in words (PostgreSQL manual, appendix A); the server's own may name tables and users.
fn explain(error: &sqlx::Error) -> String {
    if let sqlx::Error::Io(error) = error {
        return network::explain_io(error.kind());
    }
    match code(error).as_deref() {
        Some("28P01" | "28000") => "the server refuses the user or the password".to_owned(),
        Some("3D000") => "the database does not exist".to_owned(),
        Some("42501") => "the user may not do this".to_owned(),
        Some("53300") => "the server has no connection left".to_owned(),
        Some("55P03") => "a lock is held for too long".to_owned(),
        Some("57014") => "the server ended a query that took too long".to_owned(),
        Some("57P01" | "57P02") => "the server is shutting down".to_owned(),
        Some("57P03") => "the server is starting up or shutting down".to_owned(),
        Some(code) => format!("the server answers with SQLSTATE {code}"),
        None => "the server speaks in a way that is not understood".to_owned(),
    }
}

/// 150010 is 15.10.
fn version(number: i32) -> String {
    format!("{}.{}", number / 10_000, number % 10_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_shown_as_people_write_it() {
        assert_eq!((version(150_010), version(120_000)), ("15.10".to_owned(), "12.0".to_owned()));
    }

    #[test]
    fn what_a_url_leaves_out_is_not_taken_from_elsewhere() {
        let (_, found) = options("postgres://h").unwrap_or_else(|message| panic!("{message}"));
        assert_eq!(
            (found.get_username(), found.get_database(), found.get_port()),
            ("postgres", Some("postgres"), 5432)
        );
    }
}
