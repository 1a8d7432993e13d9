//! SQLite.

use anyhow::Result;
use sker_db::{Db, DbConfig, Transaction};
use tempfile::TempDir;

/// A database of one test.
pub struct Place {
    directory: TempDir,
}

impl Place {
    pub async fn new() -> Result<Self> {
        Ok(Place { directory: tempfile::tempdir()? })
    }

    /// As `database.url` names it.
    pub fn url(&self) -> String {
        format!("sqlite://{}", self.directory.path().join("registry.db").display())
    }

    /// As the seed's `database.type` and `database.dsn` name it.
    pub fn dsn(&self) -> (&'static str, String) {
        ("sqlite", self.url())
    }
}

/// A database that can be away. Another writer that holds the file's lock is what comes closest to it.
pub struct Outage {
    place: Place,
    lock: Option<Transaction>,
}

impl Outage {
    pub async fn new() -> Result<Self> {
        Ok(Outage { place: Place::new().await?, lock: None })
    }

    pub fn config(&self) -> DbConfig {
        DbConfig { busy_timeout_ms: 20, ..DbConfig::new(self.place.url()) }
    }

    pub async fn begin(&mut self) -> Result<()> {
        self.lock = Some(Db::connect(&self.config()).await?.begin().await?);
        Ok(())
    }

    pub async fn end(&mut self) -> Result<()> {
        if let Some(lock) = self.lock.take() {
            lock.rollback().await?;
        }
        Ok(())
    }
}
