//! MariaDB.

use anyhow::{Context, Result};
use sea_orm::ConnectionTrait;
use sker_db::{Db, DbConfig};
use sker_testkit::{MariaDbServer, TestDatabase, mariadb_database};

/// A database of one test.
pub struct Place(TestDatabase);

impl Place {
    pub async fn new() -> Result<Self> {
        Ok(Place(mariadb_database().await?))
    }

    /// As `database.url` names it.
    pub fn url(&self) -> String {
        self.0.url().to_owned()
    }

    /// As the seed's `database.type` and `database.dsn` name it: in the form of Go's driver.
    pub fn dsn(&self) -> (&'static str, String) {
        let url = self.url();
        let (account, rest) = url.trim_start_matches("mysql://").split_once('@').unwrap_or_default();
        let (server, database) = rest.split_once('/').unwrap_or_default();
        ("mysql", format!("{account}@tcp({server})/{database}?charset=utf8mb4&parseTime=True&loc=Local"))
    }
}

/// A database that can be away: its server is killed and started again.
pub struct Outage(MariaDbServer);

impl Outage {
    pub async fn new() -> Result<Self> {
        let server = MariaDbServer::start_fast().await?;
        let admin = Db::connect(&DbConfig::new(server.url())).await?;
        admin.write().execute_unprepared("CREATE DATABASE registry").await.context("cannot make a database")?;
        admin.close().await;
        Ok(Outage(server))
    }

    pub fn url(&self) -> String {
        self.0.url().replace("/mysql", "/registry")
    }

    pub fn config(&self) -> DbConfig {
        DbConfig { acquire_timeout_ms: 300, ..DbConfig::new(self.url()) }
    }

    pub async fn begin(&mut self) -> Result<()> {
        self.0.kill().await
    }

    pub async fn end(&mut self) -> Result<()> {
        self.0.restart().await
    }
}
