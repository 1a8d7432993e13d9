use sea_orm::{ConnectionTrait, Statement};
use sker_db::{Db, DbConfig};
use sker_error::Code;

use crate::world::mariadb;

async fn text(db: &Db, query: &str) -> String {
    let row = db.read().query_one_raw(Statement::from_string(db.backend(), query)).await.expect("read").expect("a row");
    row.try_get_by_index(0).expect("text")
}

#[tokio::test]
async fn a_session_is_strict_in_utc_and_sees_what_is_committed_whatever_the_server_says() {
    let world = mariadb().await;
    let db = world.connect().await;
    let mode = text(&db, "SELECT @@sql_mode").await;
    assert!(mode.contains("STRICT_ALL_TABLES") && mode.contains("NO_ZERO_DATE"), "{mode}");
    assert_eq!(text(&db, "SELECT @@time_zone").await, "+00:00");
    assert_eq!(text(&db, "SELECT @@tx_isolation").await, "READ-COMMITTED");
    assert_eq!(text(&db, "SELECT @@character_set_connection").await, "utf8mb4");
}

#[tokio::test]
async fn columns_have_the_types_that_hold_what_we_store() {
    let world = mariadb().await;
    let db = world.migrated().await;
    let kind = async |column: &str| {
        let query = format!(
            "SELECT CONCAT(COLUMN_TYPE, ' ', IFNULL(COLLATION_NAME, '-')) FROM information_schema.COLUMNS \
             WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'samples' AND COLUMN_NAME = '{column}'"
        );
        text(&db, &query).await
    };
    assert_eq!(kind("at").await, "datetime(6) -");
    assert_eq!(kind("ended_at").await, "datetime(6) -");
    assert_eq!(kind("id").await, "binary(16) -");
    assert_eq!(kind("name").await, "varchar(100) utf8mb4_bin");
}

#[tokio::test]
async fn a_snapshot_sees_one_state_and_cannot_write() {
    let world = mariadb().await;
    let db = world.connect().await;
    db.write().execute_unprepared("CREATE TABLE seen (n INT)").await.expect("a table");
    let snapshot = db.begin_read().await.expect("begun");
    let count = async || {
        let count = Statement::from_string(db.backend(), "SELECT count(*) FROM seen");
        let row = snapshot.query_one_raw(count).await.expect("read").expect("a row");
        row.try_get_by_index::<i64>(0).expect("a number")
    };
    assert_eq!(count().await, 0);
    db.write().execute_unprepared("INSERT INTO seen VALUES (1)").await.expect("inserted");
    assert_eq!(count().await, 0);
    snapshot.execute_unprepared("INSERT INTO seen VALUES (2)").await.expect_err("it only reads");
}

#[tokio::test]
async fn a_url_may_ask_for_an_encrypted_connection() {
    let world = mariadb().await;
    let required = Db::connect(&DbConfig::new(format!("{}?ssl-mode=REQUIRED", world.config().url))).await;
    // The test server has no certificate, and nothing falls back to an open connection.
    assert_eq!(required.expect_err("not encrypted").code(), Code::Unavailable);
    Db::connect(&DbConfig::new(format!("{}?ssl-mode=DISABLED", world.config().url))).await.expect("an open one");
}
