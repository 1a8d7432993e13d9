//! PostgreSQL.

use anyhow::Result;
use sker_db::{Db, DbConfig};
use sker_registry::migration::Migrator;
use sker_testkit::{PostgresServer, TestDatabase, postgres_database};

/// A database of one test.
pub struct Place(TestDatabase);

impl Place {
    pub async fn new() -> Result<Self> {
        let migrate = async |url: &str| {
            let db = Db::connect(&config(url)).await?;
            db.migrate::<Migrator>().await?;
            db.close().await;
            Ok(())
        };
        Ok(Place(postgres_database("registry", migrate).await?))
    }

    /// As `database.url` names it.
    pub fn url(&self) -> String {
        self.0.url().to_owned()
    }

    /// As the seed's `database.type` and `database.dsn` name it.
    pub fn dsn(&self) -> (&'static str, String) {
        ("postgresql", self.url())
    }
}

fn config(url: &str) -> DbConfig {
    DbConfig { schema: Some("registry".to_owned()), ..DbConfig::new(url) }
}

/// A database that can be away: its server is killed and started again.
pub struct Outage(PostgresServer);

impl Outage {
    pub async fn new() -> Result<Self> {
        Ok(Outage(PostgresServer::start_fast().await?))
    }

    pub fn url(&self) -> String {
        self.0.url()
    }

    pub fn config(&self) -> DbConfig {
        DbConfig { acquire_timeout_ms: 300, ..config(&self.url()) }
    }

    pub async fn begin(&mut self) -> Result<()> {
        self.0.kill().await
    }

    pub async fn end(&mut self) -> Result<()> {
        self.0.restart().await
    }
}
