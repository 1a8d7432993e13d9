use std::{fmt, path::Path};

use serde::{Deserialize, Serialize};

/// Where a service keeps its rows.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DbConfig {
    /// `sqlite:///path/to/file.db`, `postgres://user:password@host:port/database` or
    /// `mysql://user:password@host:port/database` (also for MariaDB). `?sslmode=` (PostgreSQL) and `?ssl-mode=` (MySQL) say
    /// whether the connection is encrypted and whose certificate is accepted.
    pub url: String,
    /// PostgreSQL only: the schema that `search_path` names.
    #[serde(default)]
    pub schema: Option<String>,
    /// PostgreSQL and MySQL: the size of the pool. SQLite: of the read-only pool; one more connection writes.
    #[serde(default = "default_max_connections")]
    pub max_connections: u32,
    /// How long a caller waits for a connection.
    #[serde(default = "default_acquire_timeout_ms")]
    pub acquire_timeout_ms: u64,
    /// SQLite only: how long a statement waits for a lock of another process.
    #[serde(default = "default_busy_timeout_ms")]
    pub busy_timeout_ms: u64,
    /// Not on SQLite: a connection that nobody used for this long is closed.
    #[serde(default = "default_idle_timeout_ms")]
    pub idle_timeout_ms: u64,
    /// Not on SQLite: a connection that is older is replaced.
    #[serde(default = "default_max_lifetime_ms")]
    pub max_lifetime_ms: u64,
    /// PostgreSQL only: a statement that takes longer is broken off; migrations are not. 0 is no limit.
    #[serde(default = "default_statement_timeout_ms")]
    pub statement_timeout_ms: u64,
    /// PostgreSQL only: who we are, for its `pg_stat_activity`.
    #[serde(skip, default = "default_application_name")]
    pub application_name: String,
}

fn default_max_connections() -> u32 {
    4
}

fn default_acquire_timeout_ms() -> u64 {
    10_000
}

fn default_busy_timeout_ms() -> u64 {
    5_000
}

fn default_idle_timeout_ms() -> u64 {
    600_000
}

fn default_max_lifetime_ms() -> u64 {
    1_800_000
}

fn default_statement_timeout_ms() -> u64 {
    60_000
}

fn default_application_name() -> String {
    "sker".to_owned()
}

impl DbConfig {
    /// The defaults for a URL.
    pub fn new(url: impl Into<String>) -> Self {
        DbConfig {
            url: url.into(),
            schema: None,
            max_connections: default_max_connections(),
            acquire_timeout_ms: default_acquire_timeout_ms(),
            busy_timeout_ms: default_busy_timeout_ms(),
            idle_timeout_ms: default_idle_timeout_ms(),
            max_lifetime_ms: default_max_lifetime_ms(),
            statement_timeout_ms: default_statement_timeout_ms(),
            application_name: default_application_name(),
        }
    }

    /// With the name of the service that connects.
    pub fn of_service(self, service: &str) -> Self {
        DbConfig { application_name: format!("sker-{service}"), ..self }
    }

    /// The defaults for a SQLite file.
    pub fn sqlite(path: impl AsRef<Path>) -> Self {
        // Characters that would end the path of a URL or start an escape.
        let path = path.as_ref().to_string_lossy().replace('%', "%25").replace('?', "%3F").replace('#', "%23");
        Self::new(format!("sqlite://{path}"))
    }
}

impl fmt::Debug for DbConfig {
    /// Shows no credentials.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = match url::Url::parse(&self.url) {
            // A password that is not escaped may have ended up in the path or behind a `#`.
            Ok(mut url) if !url.path().contains('@') && url.fragment().is_none() => {
                if url.password().is_some() {
                    // Fails only for URLs that cannot have a password.
                    let _ = url.set_password(Some("***"));
                }
                url.set_query(None);
                url.to_string()
            }
            _ => "(unreadable)".to_owned(),
        };
        formatter
            .debug_struct("DbConfig")
            .field("url", &url)
            .field("schema", &self.schema)
            .field("max_connections", &self.max_connections)
            .field("acquire_timeout_ms", &self.acquire_timeout_ms)
            .finish_non_exhaustive()
    }
}
