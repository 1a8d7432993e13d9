use std::{fs, path::Path};

use serde_json::{Value, json};
use sqlx::{ConnectOptions, Connection, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::support::{Setup, TestService, make_database};

async fn watched() -> TestService {
    let setup = Setup::new().with_sqlite("store", "store.db").with_sqlite("other", "other.db");
    make_database(&setup.path("store.db")).await;
    make_database(&setup.path("other.db")).await;
    let service = setup.start().await;
    service.until_target("store", "healthy").await;
    service
}

/// The target is down, says why, and has an alert; the other one is not touched by it.
async fn assert_down(service: &TestService, step: &str, message: &str) {
    let target = service.until_target("store", "unhealthy").await;
    assert_eq!((&target["error"]["step"], &target["error"]["message"]), (&json!(step), &json!(message)));
    let alerts = service.get("/api/database/alerts").await;
    assert_eq!(alerts["count"], 1, "{alerts}");
    let alert = &alerts["alerts"][0];
    assert_eq!((&alert["target"], &alert["severity"]), (&json!("store"), &json!("critical")));
    assert_eq!(alert["since"], target["failing_since"]);
    assert!(target["consecutive_failures"].as_u64().unwrap() >= 3);
    service.until_target("other", "healthy").await;
    let body = service.get("/api/database/status").await;
    assert_eq!(
        (&body["overall_status"], &body["databases"]["sqlite"]["status"]),
        (&json!("degraded"), &json!("degraded"))
    );
}

async fn assert_well_again(service: &TestService) {
    let target = service.until_target("store", "healthy").await;
    assert!(target["consecutive_successes"].as_u64().unwrap() >= 2, "{target}");
    assert_eq!((&target["error"], &target["failing_since"]), (&Value::Null, &Value::Null));
    assert_eq!(service.get("/api/database/alerts").await["count"], 0);
}

fn overwrite(path: &Path, from: usize, with: &[u8]) {
    let mut bytes = fs::read(path).unwrap();
    bytes[from..from + with.len()].copy_from_slice(with);
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_file_that_is_removed_is_down_and_well_again_when_it_is_back() {
    let service = watched().await;
    let (path, aside) = (service.setup.path("store.db"), service.setup.path("aside"));
    fs::rename(&path, &aside).unwrap();
    assert_down(&service, "resolve", "the file does not exist").await;
    assert!(!path.exists(), "a check never makes a file");
    fs::rename(&aside, &path).unwrap();
    assert_well_again(&service).await;
}

#[tokio::test]
async fn a_file_that_is_overwritten_is_down_and_well_again_when_it_is_restored() {
    let service = watched().await;
    let path = service.setup.path("store.db");
    let good = fs::read(&path).unwrap();
    overwrite(&path, 0, b"this is not SQLite any more");
    assert_down(&service, "query", "the file is not a database, or it is damaged or encrypted").await;
    fs::write(&path, good).unwrap();
    assert_well_again(&service).await;
}

#[tokio::test]
async fn damage_inside_a_file_is_found_by_the_deep_check() {
    let setup = Setup::new().with("checks.deep_interval_ms", "100").with_sqlite("store", "store.db");
    make_database(&setup.path("store.db")).await;
    let service = setup.start().await;
    service.until_target("store", "healthy").await;
    // The second page is the table; its header is at the page's start.
    overwrite(&service.setup.path("store.db"), 4096, &[0xff; 64]);
    let target = service.until_target("store", "unhealthy").await;
    assert_eq!(target["error"]["step"], "query", "{target}");
    assert!(target["error"]["message"].as_str().unwrap().contains("damaged"), "{target}");
}

#[tokio::test]
async fn a_file_that_somebody_locks_is_down_and_well_again_when_the_lock_is_gone() {
    let service = watched().await;
    let mut holder: SqliteConnection =
        SqliteConnectOptions::new().filename(service.setup.path("store.db")).connect().await.unwrap();
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut holder).await.unwrap();
    assert_down(&service, "query", "the file is locked by somebody else").await;
    sqlx::query("COMMIT").execute(&mut holder).await.unwrap();
    holder.close().await.unwrap();
    assert_well_again(&service).await;
}

#[tokio::test]
async fn a_database_that_is_being_written_is_well() {
    let setup = Setup::new().with_sqlite("store", "store.db");
    let options = SqliteConnectOptions::new()
        .filename(setup.path("store.db"))
        .create_if_missing(true)
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal);
    let mut writer = options.connect().await.unwrap();
    sqlx::query("CREATE TABLE notes (text TEXT)").execute(&mut writer).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut writer).await.unwrap();
    let service = setup.start().await;
    let target = service.until_target("store", "healthy").await;
    assert_eq!(target["details"]["journal_mode"], "wal");
    sqlx::query("COMMIT").execute(&mut writer).await.unwrap();
}

#[tokio::test]
async fn a_directory_and_an_empty_file_are_no_databases() {
    let setup = Setup::new().with_sqlite("directory", "directory").with_sqlite("empty", "empty.db");
    fs::create_dir(setup.path("directory")).unwrap();
    fs::write(setup.path("empty.db"), "").unwrap();
    let service = setup.start().await;
    let target = service.until_target("directory", "unhealthy").await;
    assert_eq!(target["error"]["message"], "it is not a file");
    let target = service.until_target("empty", "unhealthy").await;
    assert_eq!(target["error"]["message"], "the file is empty");
    let body = service.get("/api/database/health").await;
    assert_eq!(body["overall_status"], "unhealthy");
}
