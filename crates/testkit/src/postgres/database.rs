use std::{
    env,
    hash::{DefaultHasher, Hash, Hasher},
    time::UNIX_EPOCH,
};

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use url::Url;
use uuid::Uuid;

use crate::{Shared, cleanup, eventually};

/// A template is made once even when several tests need it at once: under this advisory lock (any number of our own).
const TEMPLATE_LOCK: i64 = 0x736b_6572_7465_7374;
/// `duplicate_database` and `object_in_use` (PostgreSQL, appendix A).
const IN_USE: &str = "55006";

/// A database of one test, dropped with its connections when this is.
pub struct TestDatabase {
    url: String,
    drop: Drop,
}

/// What drops it: the server's URL and the statement.
pub(crate) enum Drop {
    Postgres { server: String, name: String },
    MariaDb { server: String, name: String },
}

impl TestDatabase {
    pub(crate) fn new(url: String, drop: Drop) -> Self {
        TestDatabase { url, drop }
    }

    /// Its URL, as the server's superuser.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl std::ops::Drop for TestDatabase {
    fn drop(&mut self) {
        cleanup::run("drop a test's database", async {
            match &self.drop {
                Drop::Postgres { server, name } => {
                    let mut connection = PgConnection::connect(server).await?;
                    execute(&mut connection, format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await
                }
                Drop::MariaDb { server, name } => crate::mariadb::drop_database(server, name).await,
            }
        });
    }
}

/// A database of the shared server that is a clone of a template. `migrate` is given the URL of a new, empty database once
/// for each build of the test executable and each `template`, and leaves what every test begins with in it; it closes its
/// connections, or they are closed for it.
pub async fn postgres_database(template: &str, migrate: impl AsyncFnOnce(&str) -> Result<()>) -> Result<TestDatabase> {
    let server = Shared::Postgres.url()?;
    let mut connection = connect(&server).await?;
    let template = Template::of(template)?;
    if !exists(&mut connection, &template.name).await? {
        template.make(&server, &mut connection, migrate).await?;
    }
    let name = format!("t_{}", Uuid::new_v4().simple());
    let clone = format!("CREATE DATABASE {name} TEMPLATE {}", template.name);
    eventually("the template is cloned", async || match connection.execute(AssertSqlSafe(clone.clone())).await {
        Ok(_) => Ok(Some(())),
        // Somebody, autovacuum perhaps, is connected to the template.
        Err(sqlx::Error::Database(error)) if error.code().is_some_and(|code| code == IN_USE) => Ok(None),
        Err(error) => Err(error.into()),
    })
    .await?;
    connection.close().await?;
    Ok(TestDatabase::new(with_database(&server, &name)?, Drop::Postgres { server, name }))
}

/// A template database.
struct Template {
    /// What the templates of earlier builds of this executable begin with, too.
    family: String,
    name: String,
}

impl Template {
    fn of(template: &str) -> Result<Self> {
        let executable = env::current_exe().context("the running test has no path")?;
        let built = executable.metadata()?.modified()?.duration_since(UNIX_EPOCH)?;
        let family = format!("template_{template}_{:016x}_", hash(&executable));
        Ok(Template { name: format!("{family}{:016x}", hash(&built)), family })
    }

    async fn make(
        &self,
        server: &str,
        connection: &mut PgConnection,
        migrate: impl AsyncFnOnce(&str) -> Result<()>,
    ) -> Result<()> {
        // Held until the connection is closed; every caller that comes in the meantime waits here.
        sqlx::query("SELECT pg_advisory_lock($1)").bind(TEMPLATE_LOCK).execute(&mut *connection).await?;
        if !exists(connection, &self.name).await? {
            self.drop_old(connection).await?;
            // Under another name until it is whole.
            let unfinished = format!("{}_", self.name);
            execute(connection, format!("CREATE DATABASE {unfinished} TEMPLATE template0")).await?;
            migrate(&with_database(server, &unfinished)?).await.context("cannot migrate a template database")?;
            execute(connection, format!("ALTER DATABASE {unfinished} ALLOW_CONNECTIONS false")).await?;
            let close = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1";
            sqlx::query(close).bind(&unfinished).execute(&mut *connection).await?;
            let rename = format!("ALTER DATABASE {unfinished} RENAME TO {}", self.name);
            eventually("the template's connections are closed", async || {
                Ok(connection.execute(AssertSqlSafe(rename.clone())).await.ok().map(drop))
            })
            .await?;
        }
        sqlx::query("SELECT pg_advisory_unlock($1)").bind(TEMPLATE_LOCK).execute(connection).await?;
        Ok(())
    }

    /// Drops the templates of earlier builds, and what an interrupted run left unfinished.
    async fn drop_old(&self, connection: &mut PgConnection) -> Result<()> {
        let old = "SELECT datname::text FROM pg_database WHERE starts_with(datname, $1)";
        let names: Vec<String> = sqlx::query_scalar(old).bind(&self.family).fetch_all(&mut *connection).await?;
        for name in names {
            execute(connection, format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await?;
        }
        Ok(())
    }
}

async fn connect(server: &str) -> Result<PgConnection> {
    PgConnection::connect(server).await.with_context(|| format!("cannot reach {}", Shared::Postgres.variable()))
}

async fn exists(connection: &mut PgConnection, name: &str) -> Result<bool> {
    let query = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)");
    Ok(query.bind(name).fetch_one(connection).await?)
}

async fn execute(connection: &mut PgConnection, statement: String) -> Result<()> {
    connection.execute(AssertSqlSafe(statement)).await?;
    Ok(())
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The URL of another database of the same server.
pub(crate) fn with_database(server: &str, name: &str) -> Result<String> {
    let mut url = Url::parse(server).context("the URL of a test server")?;
    url.set_path(name);
    Ok(url.into())
}
