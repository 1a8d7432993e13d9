//! Places of a test's own on the servers that all tests of a run share.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use futures::future::try_join_all;
use sker_testkit::{Shared, eventually, mariadb_database, postgres_database, rabbitmq_vhost, redis_prefix, redis_url};
use sqlx::{Connection, Executor, MySqlConnection, PgConnection};

#[tokio::test]
async fn a_template_is_migrated_once_and_cloned_for_each_test() -> Result<()> {
    static MIGRATED: AtomicUsize = AtomicUsize::new(0);
    let clone = async || {
        postgres_database("testkit", async |url| {
            MIGRATED.fetch_add(1, Ordering::SeqCst);
            let mut connection = PgConnection::connect(url).await?;
            // Left open: it must not be in the way.
            connection.execute("CREATE TABLE counted (n int)").await?;
            Ok(())
        })
        .await
    };
    let databases = try_join_all((0..8).map(|_| clone())).await?;
    assert!(MIGRATED.load(Ordering::SeqCst) <= 1, "none when a run of the same build has left its template");
    for database in &databases {
        let mut connection = PgConnection::connect(database.url()).await?;
        connection.execute("INSERT INTO counted VALUES (1)").await?;
        let (rows,): (i64,) = sqlx::query_as("SELECT count(*) FROM counted").fetch_one(&mut connection).await?;
        assert_eq!(rows, 1, "each has its own");
    }
    Ok(())
}

#[tokio::test]
async fn a_database_is_gone_after_its_test_even_when_it_is_in_use() -> Result<()> {
    let database = postgres_database("testkit_empty", async |_| Ok(())).await?;
    let url = database.url().to_owned();
    let _in_use = PgConnection::connect(&url).await?;
    drop(database);
    let error = PgConnection::connect(&url).await.err().context("it is gone")?;
    assert!(error.to_string().contains("does not exist"), "{error}");

    let database = mariadb_database().await?;
    let url = database.url().to_owned();
    let mut connection = MySqlConnection::connect(&url).await?;
    connection.execute("CREATE TABLE mine (n int)").await?;
    drop(database);
    assert!(MySqlConnection::connect(&url).await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_virtual_host_shows_its_queues_and_is_gone_after_its_test() -> Result<()> {
    let (one, other) = (rabbitmq_vhost().await?, rabbitmq_vhost().await?);
    assert_ne!(one.url(), other.url());
    one.declare_queue("work").await?;
    let queue = one.queue("work").await?.context("it is there")?;
    assert_eq!(queue["vhost"], one.name());
    assert!(other.queue("work").await?.is_none(), "in one virtual host only");
    one.delete_queue("work").await?;
    eventually("the queue is gone", async || Ok(one.queue("work").await?.is_none().then_some(()))).await?;
    assert_eq!(one.close_connections().await?, 0);
    Ok(())
}

#[test]
fn prefixes_differ_and_servers_are_named_by_variables() -> Result<()> {
    assert_ne!(redis_prefix(), redis_prefix());
    assert_eq!(redis_url()?, Shared::Redis.url()?);
    assert!(Shared::Redis.url()?.starts_with("redis://"));
    Ok(())
}
