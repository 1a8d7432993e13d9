use std::os::unix::fs::PermissionsExt;

use futures::future::join_all;
use sea_orm::{ActiveValue, QueryFilter};
use sea_orm::{ConnectionTrait, EntityTrait, IntoActiveModel, PaginatorTrait, Statement, sea_query::Expr};
use sker_db::{Db, DbConfig, db_error};
use sker_error::Code;

use crate::schema::sample::{Column, Entity};
use crate::schema::{database, sample};

async fn pragma(connection: &impl ConnectionTrait, name: &str) -> String {
    let statement = Statement::from_string(connection.get_database_backend(), format!("PRAGMA {name}"));
    let row = connection.query_one_raw(statement).await.expect("a pragma").expect("a row");
    row.try_get_by_index::<String>(0)
        .or_else(|_| row.try_get_by_index::<i64>(0).map(|number| number.to_string()))
        .expect("a value")
}

#[tokio::test]
async fn a_missing_file_is_made_for_its_owner_alone() {
    let (directory, _db) = database().await;
    let mode = |name: &str| std::fs::metadata(directory.path().join(name)).expect(name).permissions().mode() & 0o777;
    assert_eq!(mode("data"), 0o700);
    for name in ["data/test.db", "data/test.db-wal", "data/test.db-shm"] {
        assert_eq!(mode(name), 0o600, "{name}");
    }
}

#[tokio::test]
async fn a_path_with_characters_of_urls_is_taken_as_it_is() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("50% done? #1 数据.db");
    let db = Db::connect(&DbConfig::sqlite(&path)).await.expect("a database");
    db.ping().await.expect("an answer");
    assert!(path.is_file());
}

#[tokio::test]
async fn the_connections_are_set_for_safety() {
    let (_directory, db) = database().await;
    assert_eq!(pragma(db.write(), "journal_mode").await, "wal");
    for connection in [db.write(), db.read()] {
        assert_eq!(pragma(connection, "synchronous").await, "2", "FULL");
        assert_eq!(pragma(connection, "foreign_keys").await, "1");
        assert_eq!(pragma(connection, "busy_timeout").await, "5000");
    }
    assert_eq!(pragma(db.read(), "query_only").await, "1");
}

#[tokio::test]
async fn the_reader_cannot_write() {
    let (_directory, db) = database().await;
    let error = db.read().execute_unprepared("DELETE FROM samples").await.expect_err("read-only");
    assert_eq!(db_error(error).code(), Code::Internal);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_read_then_write_transactions_lose_no_update() {
    let (_directory, db) = database().await;
    let row = sample("counter");
    let id = row.id;
    Entity::insert(row.into_active_model()).exec(db.write()).await.expect("inserted");
    let increment = |db: Db| async move {
        let tx = db.begin().await.expect("begun");
        let row = Entity::find_by_id(id).one(&tx).await.expect("read").expect("found");
        Entity::update_many()
            .col_expr(Column::Version, Expr::value(row.version + 1))
            .filter(sea_orm::ColumnTrait::eq(&Column::Id, id))
            .exec(&tx)
            .await
            .expect("updated");
        tx.commit().await.expect("committed");
    };
    join_all((0..200).map(|_| tokio::spawn(increment(db.clone()))))
        .await
        .into_iter()
        .for_each(|done| done.expect("ran"));
    let row = Entity::find_by_id(id).one(db.read()).await.expect("read").expect("found");
    assert_eq!(row.version, 201);
}

#[tokio::test]
async fn reads_go_on_while_a_transaction_is_open_and_do_not_see_it() {
    let (_directory, db) = database().await;
    let tx = db.begin().await.expect("begun");
    Entity::insert(sample("new").into_active_model()).exec(&tx).await.expect("inserted");
    assert_eq!(Entity::find().count(&tx).await.expect("count"), 1);
    assert_eq!(Entity::find().count(db.read()).await.expect("count"), 0);
    tx.commit().await.expect("committed");
    assert_eq!(Entity::find().count(db.read()).await.expect("count"), 1);
}

#[tokio::test]
async fn a_dropped_transaction_is_rolled_back_and_frees_the_writer() {
    let (_directory, db) = database().await;
    let tx = db.begin().await.expect("begun");
    Entity::insert(sample("lost").into_active_model()).exec(&tx).await.expect("inserted");
    drop(tx);
    let tx = db.begin().await.expect("the writer is free");
    assert_eq!(Entity::find().count(&tx).await.expect("count"), 0);
}

#[tokio::test]
async fn a_writer_that_is_not_to_be_had_in_time_is_unavailable() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut config = DbConfig::sqlite(directory.path().join("test.db"));
    config.acquire_timeout_ms = 300;
    let db = Db::connect(&config).await.expect("a database");
    let held = db.begin().await.expect("begun");
    let error = db.begin().await.expect_err("the writer is taken");
    assert_eq!(error.code(), Code::Unavailable);
    drop(held);
}

#[tokio::test]
async fn a_file_opened_again_has_what_was_committed() {
    let (directory, db) = database().await;
    Entity::insert(sample("kept").into_active_model()).exec(db.write()).await.expect("inserted");
    db.close().await;
    assert_eq!(db.ping().await.expect_err("closed").code(), Code::Unavailable);
    let again = Db::connect(&DbConfig::sqlite(directory.path().join("data/test.db"))).await.expect("a database");
    assert_eq!(Entity::find().count(again.read()).await.expect("count"), 1);
}

#[tokio::test]
async fn metrics_show_the_pools() {
    let (_directory, db) = database().await;
    let registry = prometheus::Registry::new();
    db.register_metrics(&registry).expect("registered");
    let tx = db.begin().await.expect("begun");
    let families = registry.gather();
    let pool = families.iter().find(|family| family.name() == "db_pool_connections").expect("the gauge");
    let used = |name: &str| {
        let metric = pool.get_metric().iter().find(|metric| {
            let labels: Vec<&str> = metric.get_label().iter().map(|label| label.value()).collect();
            labels == [name, "used"]
        });
        metric.expect("a series").get_gauge().get_value()
    };
    assert_eq!(used("write"), 1.0);
    assert!(families.iter().any(|family| family.name() == "db_begin_wait_seconds"));
    drop(tx);
}

#[tokio::test]
async fn a_url_that_cannot_be_used_is_refused() {
    for url in ["oracle://host/db", "sqlite::memory:", "mysql://host", "nonsense"] {
        let error = Db::connect(&DbConfig::new(url)).await.expect_err(url);
        assert_eq!(error.code(), Code::InvalidRequest, "{url}");
    }
    let mut config = DbConfig::new("postgres://sker@127.0.0.1:1/sker");
    config.schema = Some("store; drop".to_owned());
    assert_eq!(Db::connect(&config).await.expect_err("a bad schema").code(), Code::InvalidRequest);
}

#[test]
fn debug_output_shows_no_password() {
    let config = DbConfig::new("postgres://sker:hunter2@db:5432/sker?password=hunter2");
    let shown = format!("{config:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("db:5432"), "{shown}");
    for url in ["postgres:sker:hunter2@db/sker", "postgres://sker:1/hunter2@db/sker", "mysql://sker:1#hunter2@db/sker"]
    {
        let shown = format!("{:?}", DbConfig::new(url));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[tokio::test]
async fn an_unset_value_is_not_written() {
    let (_directory, db) = database().await;
    let row = sample("patched");
    Entity::insert(row.clone().into_active_model()).exec(db.write()).await.expect("inserted");
    let patch = crate::schema::sample::ActiveModel {
        id: ActiveValue::Unchanged(row.id),
        weight: ActiveValue::Set(0.25),
        ..Default::default()
    };
    let patched = Entity::update(patch).exec(db.write()).await.expect("updated");
    assert_eq!(patched, crate::schema::sample::Model { weight: 0.25, ..row });
}
