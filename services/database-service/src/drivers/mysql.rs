//! MySQL 5.7 and later, MariaDB 10.5 and later.

use std::{str::FromStr, time::Duration};

use async_trait::async_trait;
use serde_json::{Map, json};
use sqlx::{
    ConnectOptions, Connection, MySqlConnection, Row,
    mysql::{MySqlConnectOptions, MySqlDatabaseError, MySqlRow},
};
use tokio::time::Instant;
use tracing::log::LevelFilter;

use super::network::{self, Address};
use crate::app::{Depth, Driver, Failure, Observation, Progress, Session, Step, Target};

/// Only system variables, no table. `read_only` is a number, or from MariaDB 12 on a word.
const LIGHT: &str = "SELECT VERSION(), @@GLOBAL.read_only NOT IN ('0', 'OFF')";

/// Needs no privilege.
const UPTIME: &str = "SHOW GLOBAL STATUS LIKE 'Uptime'";

/// Checks MySQL and MariaDB servers.
pub struct Mysql;

#[async_trait]
impl Driver for Mysql {
    async fn connect(&self, target: &Target, _: Instant, progress: &Progress) -> Result<Box<dyn Session>, Failure> {
        let (address, options) = options(target.url()).map_err(|message| progress.failure(message))?;
        network::resolve(&address, progress).await?;
        let mut connection = options.connect().await.map_err(|error| refusal(&error, progress))?;
        progress.enter(Step::Query);
        restrict(&mut connection).await.map_err(|error| progress.failure(explain(&error)))?;
        Ok(Box::new(Server { connection }))
    }

    fn check_url(&self, url: &str) -> Result<(), String> {
        options(url).map(drop)
    }
}

struct Server {
    connection: MySqlConnection,
}

#[async_trait]
impl Session for Server {
    async fn look(&mut self, _: Depth, progress: &Progress) -> Result<Observation, Failure> {
        let found = light(&mut self.connection).await.map_err(|error| progress.failure(explain(&error)))?;
        // Whether it is a replica can only be asked with a privilege; whether it takes writes is what matters.
        let role = if found.read_only { "read_only" } else { "primary" };
        let (product, version) = product(&found.version);
        Ok(Observation {
            version: Some(version),
            role: Some(role.to_owned()),
            uptime_s: found.uptime_s,
            details: Map::from_iter([("product".to_owned(), json!(product))]),
            ..Observation::default()
        })
    }

    async fn close(self: Box<Self>) {
        let _ = self.connection.close().await;
    }
}

/// A check shall never be what somebody else waits for: it only reads, and gives up on locks and on its own queries.
async fn restrict(connection: &mut MySqlConnection) -> sqlx::Result<()> {
    let version: String = sqlx::raw_sql("SELECT VERSION()").fetch_one(&mut *connection).await?.try_get(0)?;
    // The same limit of two seconds has another name and unit.
    let limit = match product(&version).0 {
        "MariaDB" => "max_statement_time = 2",
        _ => "max_execution_time = 2000",
    };
    let settings = format!("SET SESSION TRANSACTION READ ONLY; SET SESSION lock_wait_timeout = 1, {limit}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(settings)).execute(connection).await?;
    Ok(())
}

struct Light {
    version: String,
    read_only: bool,
    uptime_s: Option<u64>,
}

async fn light(connection: &mut MySqlConnection) -> sqlx::Result<Light> {
    let row: MySqlRow = sqlx::raw_sql(LIGHT).fetch_one(&mut *connection).await?;
    let uptime: Option<MySqlRow> = sqlx::raw_sql(UPTIME).fetch_optional(connection).await?;
    let uptime: Option<String> = uptime.map(|row| row.try_get(1)).transpose()?;
    Ok(Light {
        version: row.try_get(0)?,
        read_only: row.try_get::<i64, _>(1)? != 0,
        uptime_s: uptime.and_then(|uptime| uptime.parse().ok()),
    })
}

/// `10.11.14-MariaDB-0+deb12u2` is MariaDB 10.11.14.
fn product(version: &str) -> (&'static str, String) {
    let product = if version.to_ascii_lowercase().contains("mariadb") { "MariaDB" } else { "MySQL" };
    // Old replication protocols had MariaDB call itself MySQL 5.5.5.
    let version = version.strip_prefix("5.5.5-").unwrap_or(version);
    (product, version.split('-').next().unwrap_or(version).to_owned())
}

fn options(url: &str) -> Result<(Address, MySqlConnectOptions), String> {
    let parameters = ["ssl-mode", "ssl-ca", "ssl-cert", "ssl-key", "sslmode"];
    let address = network::address(url, &["mysql", "mariadb"], &parameters, 3306)?;
    let options = MySqlConnectOptions::from_str(url)
        .map_err(|_| "is not a MySQL URL".to_owned())?
        .host(&address.host)
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .timezone(None)
        .log_statements(LevelFilter::Trace)
        .log_slow_statements(LevelFilter::Off, Duration::ZERO);
    Ok((address, options))
}

fn refusal(error: &sqlx::Error, progress: &Progress) -> Failure {
    match error {
        sqlx::Error::Io(error) => network::connect_failure(error.kind(), progress),
        sqlx::Error::Tls(_) => {
            progress.enter(Step::Tls);
            progress.failure("the server does not offer TLS, or its certificate is not accepted")
        }
        sqlx::Error::Database(_) => {
            // It refuses everybody at the moment, or everybody from here.
            if !matches!(number(error), Some(1040 | 1053 | 1129 | 1130)) {
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

fn number(error: &sqlx::Error) -> Option<u16> {
    Some(error.as_database_error()?.try_downcast_ref::<MySqlDatabaseError>()?.number())
}

/// Error numbers in words (MySQL manual, "Server Error Message Reference"); the server's own may name tables and users.
fn explain(error: &sqlx::Error) -> String {
    if let sqlx::Error::Io(error) = error {
        return network::explain_io(error.kind());
    }
    match number(error) {
        Some(1045 | 1698) => "the server refuses the user or the password".to_owned(),
        Some(1044) => "the user may not use this database".to_owned(),
        Some(1049) => "the database does not exist".to_owned(),
        Some(1040) => "the server has no connection left".to_owned(),
        Some(1053) => "the server is shutting down".to_owned(),
        Some(1129 | 1130) => "the server takes no connections from this host".to_owned(),
        Some(1142 | 1143 | 1227) => "the user may not do this".to_owned(),
        Some(1205) => "a lock is held for too long".to_owned(),
        Some(1969 | 3024) => "the server ended a query that took too long".to_owned(),
        Some(number) => format!("the server answers with error {number}"),
        None => "the server speaks in a way that is not understood".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_told_apart_by_their_version() {
        assert_eq!(product("10.11.14-MariaDB-0+deb12u2"), ("MariaDB", "10.11.14".to_owned()));
        assert_eq!(product("5.5.5-10.5.23-MariaDB-log"), ("MariaDB", "10.5.23".to_owned()));
        assert_eq!(product("8.4.3"), ("MySQL", "8.4.3".to_owned()));
        assert_eq!(product("5.7.44-log"), ("MySQL", "5.7.44".to_owned()));
    }
}
