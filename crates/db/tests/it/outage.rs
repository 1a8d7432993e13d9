use std::time::Duration;

use futures::future::join_all;
use sea_orm::{ConnectionTrait, EntityTrait, IntoActiveModel, PaginatorTrait};
use sker_db::{Db, DbConfig, db_error};
use sker_error::Code;
use sker_testkit::{MariaDbServer, PATIENCE, PostgresServer};
use url::Url;

use crate::{
    schema::{Migrator, sample, sample::Entity},
    world::{World, mariadb, postgres},
};

const CONNECTIONS: u32 = 6;

/// A pool with all of its connections open.
async fn full_pool(world: &World) -> Db {
    let db =
        Db::connect(&DbConfig { max_connections: CONNECTIONS, ..world.config().clone() }).await.expect("a database");
    db.migrate::<Migrator>().await.expect("migrations");
    join_all((0..CONNECTIONS).map(|_| db.begin())).await.into_iter().for_each(|begun| drop(begun.expect("begun")));
    // A transaction that is dropped gives its connection back a moment later.
    join_all((0..CONNECTIONS).map(|_| db.ping())).await.into_iter().for_each(|answer| answer.expect("an answer"));
    db
}

/// Ends every connection to the world's database but the one that says so.
async fn end_connections(world: &World) {
    let admin = world.connect().await;
    if !world.is_mysql() {
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
        admin.write().execute_unprepared(end).await.expect("ended");
        return;
    }
    let mut ends = String::from("BEGIN NOT ATOMIC ");
    ends.push_str("FOR victim IN (SELECT id FROM information_schema.PROCESSLIST WHERE db = DATABASE() AND id <> CONNECTION_ID()) ");
    ends.push_str("DO KILL victim.id; END FOR; END");
    admin.write().execute_unprepared(&ends).await.expect("ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_finds_a_connection_that_lives_among_many_that_are_broken() {
    for world in [postgres().await, mariadb().await] {
        let db = full_pool(&world).await;
        end_connections(&world).await;
        assert_eq!(Entity::find().count(db.read()).await.unwrap_or_else(|error| panic!("{world}: {error}")), 0);
        end_connections(&world).await;
        let reads = join_all((0..2 * CONNECTIONS).map(|_| Entity::find().count(db.read()))).await;
        reads.into_iter().for_each(|count| assert_eq!(count.unwrap_or_else(|error| panic!("{world}: {error}")), 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_begins_on_a_connection_that_lives() {
    for world in [postgres().await, mariadb().await] {
        let db = full_pool(&world).await;
        end_connections(&world).await;
        let tx = db.begin().await.unwrap_or_else(|error| panic!("{world}: {error:?}"));
        Entity::insert(sample("stored").into_active_model()).exec(&tx).await.expect("inserted");
        tx.commit().await.expect("committed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_on_a_broken_connection_is_unavailable_and_the_next_ones_come_through() {
    for world in [postgres().await, mariadb().await] {
        let db = full_pool(&world).await;
        end_connections(&world).await;
        let mut failures = 0;
        while let Err(error) = Entity::insert(sample("one").into_active_model()).exec(db.write()).await {
            assert_eq!(db_error(error).code(), Code::Unavailable, "{world}");
            failures += 1;
            assert!(failures <= CONNECTIONS, "{world}: no connection fails twice");
        }
        assert_eq!(Entity::find().count(db.read()).await.expect("count"), 1, "{world}: stored once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_whose_connection_breaks_is_unavailable() {
    for world in [postgres().await, mariadb().await] {
        let db = full_pool(&world).await;
        let tx = db.begin().await.expect("begun");
        Entity::insert(sample("lost").into_active_model()).exec(&tx).await.expect("inserted");
        end_connections(&world).await;
        let error = tx.commit().await.expect_err("the connection is broken");
        assert_eq!(db_error(error).code(), Code::Unavailable, "{world}");
        assert_eq!(Entity::find().count(db.read()).await.expect("count"), 0, "{world}");
    }
}

/// What a service sees of its server's restart: `unavailable` while it is away, and then answers again.
async fn survives(config: DbConfig, kill: impl AsyncFnOnce(), restart: impl AsyncFnOnce()) {
    let db = Db::connect(&DbConfig { acquire_timeout_ms: 300, ..config.clone() }).await.expect("a database");
    db.migrate::<Migrator>().await.expect("migrations");
    Entity::insert(sample("kept").into_active_model()).exec(db.write()).await.expect("inserted");
    kill().await;
    assert_eq!(db.ping().await.expect_err("away").code(), Code::Unavailable);
    let error = Entity::insert(sample("lost").into_active_model()).exec(db.write()).await.expect_err("away");
    assert_eq!(db_error(error).code(), Code::Unavailable);
    assert_eq!(db.begin().await.expect_err("away").code(), Code::Unavailable);
    let late = Db::connect_within(&config, Duration::from_millis(300)).await.expect_err("away for longer");
    assert_eq!(late.code(), Code::Unavailable);
    let waiting = tokio::spawn(async move { Db::connect_within(&config, Duration::from_secs(120)).await });
    restart().await;
    waiting.await.expect("ran").expect("a start that waited for the server");
    assert_eq!(Entity::find().count(db.read()).await.expect("a read after the restart"), 1);
    Entity::insert(sample("later").into_active_model()).exec(db.write()).await.expect("a write after the restart");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_postgresql_is_unavailable_and_is_found_again_after_its_restart() {
    let server = tokio::sync::Mutex::new(PostgresServer::start_fast().await.expect("a server"));
    let config = DbConfig::new(server.lock().await.url());
    let kill = async || server.lock().await.kill().await.expect("killed");
    survives(config, kill, async || server.lock().await.restart().await.expect("restarted")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_mariadb_is_unavailable_and_is_found_again_after_its_restart() {
    let server = tokio::sync::Mutex::new(MariaDbServer::start_fast().await.expect("a server"));
    let config = DbConfig::new(server.lock().await.url().replace("/mysql", "/test_outage"));
    let admin = Db::connect(&DbConfig::new(server.lock().await.url())).await.expect("a database");
    admin.write().execute_unprepared("CREATE DATABASE test_outage").await.expect("a database");
    let kill = async || server.lock().await.kill().await.expect("killed");
    survives(config, kill, async || server.lock().await.restart().await.expect("restarted")).await;
}

#[tokio::test]
async fn a_server_that_takes_a_connection_and_says_nothing_is_unavailable() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address");
    for scheme in ["postgres", "mysql"] {
        let config = DbConfig::new(format!("{scheme}://sker@{address}/sker"));
        let answer = tokio::time::timeout(PATIENCE, Db::connect_within(&config, Duration::ZERO)).await;
        assert_eq!(answer.expect("it gives up").expect_err("silence").code(), Code::Unavailable, "{scheme}");
    }
}

#[tokio::test]
async fn a_start_does_not_wait_when_the_server_refuses_its_user() {
    for world in [postgres().await, mariadb().await] {
        let mut url = Url::parse(&world.config().url).expect("a URL");
        url.set_username("sker_nobody").expect("a user");
        url.set_password(Some("hunter2")).expect("a password");
        let config = DbConfig::new(url);
        let start = Db::connect_within(&config, Duration::from_secs(3600));
        let refused = tokio::time::timeout(PATIENCE, start).await.expect("it does not wait").expect_err("refused");
        assert_eq!(refused.code(), Code::InvalidRequest, "{world}");
        assert!(!format!("{refused:?}").contains("hunter2"), "{world}: {refused:?}");
    }
}

#[tokio::test]
async fn a_start_does_not_wait_for_what_waiting_does_not_mend() {
    for url in ["oracle://host/db", "mysql://host"] {
        let error = Db::connect_within(&DbConfig::new(url), Duration::from_secs(3600)).await.expect_err(url);
        assert_eq!(error.code(), Code::InvalidRequest);
    }
}
