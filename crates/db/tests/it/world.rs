use std::fmt;

use sker_db::{Db, DbConfig};
use sker_testkit::{TestDatabase, mariadb_database, postgres_database};
use tempfile::TempDir;

use crate::schema::Migrator;

/// An empty database of one of the servers.
pub struct World {
    name: &'static str,
    config: DbConfig,
    _place: Place,
}

#[expect(dead_code, reason = "held until the test ends")]
enum Place {
    File(TempDir),
    Server(TestDatabase),
}

/// One of each kind.
pub async fn worlds() -> [World; 3] {
    [sqlite(), postgres().await, mariadb().await]
}

pub fn sqlite() -> World {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let config = DbConfig::sqlite(directory.path().join("test.db"));
    World { name: "SQLite", config, _place: Place::File(directory) }
}

pub async fn postgres() -> World {
    let database = postgres_database("empty", async |_| Ok(())).await.expect("a PostgreSQL database");
    let config = DbConfig { schema: Some("samples".to_owned()), ..DbConfig::new(database.url()) };
    World { name: "PostgreSQL", config, _place: Place::Server(database) }
}

pub async fn mariadb() -> World {
    let database = mariadb_database().await.expect("a MariaDB database");
    World { name: "MariaDB", config: DbConfig::new(database.url()), _place: Place::Server(database) }
}

impl World {
    pub fn config(&self) -> &DbConfig {
        &self.config
    }

    pub fn is_sqlite(&self) -> bool {
        self.name == "SQLite"
    }

    pub fn is_mysql(&self) -> bool {
        self.name == "MariaDB"
    }

    pub async fn connect(&self) -> Db {
        Db::connect(&self.config).await.expect("a database")
    }

    pub async fn migrated(&self) -> Db {
        let db = self.connect().await;
        db.migrate::<Migrator>().await.expect("migrations");
        db
    }
}

impl fmt::Display for World {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name)
    }
}
