use std::fs;

use serde_json::json;
use sqlx::Connection;

use crate::support::{Setup, make_database};

#[tokio::test]
async fn history_survives_a_restart() {
    let setup = Setup::new().with_sqlite("store", "store.db");
    make_database(&setup.path("store.db")).await;
    let service = setup.start().await;
    let path = "/api/database/history/sqlite";
    let before = service.until(path, |body| body["count"].as_u64() >= Some(3)).await;
    let service = service.stop().await.start().await;
    let after = service.get(path).await;
    let ids = |body: &serde_json::Value| -> Vec<String> {
        body["history"].as_array().unwrap().iter().map(|record| record["id"].to_string()).collect()
    };
    let after = ids(&after);
    assert!(ids(&before).iter().all(|id| after.contains(id)), "{before} {after:?}");
}

#[tokio::test]
async fn a_target_that_is_down_is_still_down_after_a_restart() {
    // So many successes that it cannot be well again while the test looks.
    let setup = Setup::new().with_sqlite("store", "store.db").with("checks.successes", "100");
    let service = setup.start().await;
    let down = service.until_target("store", "unhealthy").await;
    let setup = service.stop().await;
    make_database(&setup.path("store.db")).await;
    let service = setup.start().await;
    let target = service.until_target("store", "unhealthy").await;
    assert_eq!((&target["since"], &target["failing_since"]), (&down["since"], &down["failing_since"]));
    let alerts = service.get("/api/database/alerts").await;
    assert_eq!(alerts["count"], 1, "{alerts}");
}

#[tokio::test]
async fn uptime_survives_a_restart() {
    let setup = Setup::new().with_sqlite("store", "store.db");
    let service = setup.start().await;
    let path = "/api/database/metrics";
    service.until(path, |body| body["uptime_percentage"] == json!(0.0) && body["unhealthy_databases"] == 1).await;
    let setup = service.stop().await;
    make_database(&setup.path("store.db")).await;
    let service = setup.start().await;
    service.until_target("store", "healthy").await;
    let uptime = service.get(path).await["uptime_percentage"].as_f64().unwrap();
    assert!(uptime < 100.0, "what was down stays down: {uptime}");
}

#[tokio::test]
async fn another_kind_under_the_same_name_starts_with_no_history() {
    let setup = Setup::new().with_sqlite("a", "a.db");
    let service = setup.start().await;
    service.until_target("a", "unhealthy").await;
    let mut setup = service.stop().await;
    setup.overrides.retain(|(key, _)| !key.starts_with("targets."));
    let setup = setup.with_sqlite("b", "b.db");
    make_database(&setup.path("b.db")).await;
    let service = setup.start().await;
    let target = service.until_target("b", "healthy").await;
    assert_eq!(target["failing_since"], serde_json::Value::Null);
}

#[tokio::test]
async fn its_own_database_that_cannot_be_opened_stops_the_start_with_a_reason() {
    let setup = Setup::new();
    fs::create_dir(setup.path("own.db")).unwrap();
    let mut layers = sker_database_service::layers();
    layers.overrides = setup.overrides.clone();
    let config = sker_database_service::Config::load(&layers).unwrap();
    let keys = std::sync::Arc::new(sker_auth::TokenKeys::hs256(&crate::support::SECRET.into()).unwrap());
    let deps = sker_database_service::Deps { registry: setup.registry.clone(), keys };
    let listeners = sker_runtime::Listeners::free(true).unwrap();
    let refused = sker_database_service::build(config, deps, listeners).await.map(|_| ()).unwrap_err();
    assert!(format!("{refused:#}").contains("cannot open its own database"), "{refused:#}");
}

#[tokio::test]
async fn history_may_be_kept_on_postgresql_in_a_schema_of_its_own() {
    let database = sker_testkit::postgres_database("checks", async |_: &str| Ok(())).await.unwrap();
    let setup = Setup::new().with_sqlite("store", "store.db").with("database.url", database.url());
    let service = setup.start().await;
    let down = service.until_target("store", "unhealthy").await;
    let service = service.stop().await.start().await;
    let again = service.until_target("store", "unhealthy").await;
    assert_eq!(again["failing_since"], down["failing_since"]);
    let mut connection = sqlx::PgConnection::connect(database.url()).await.unwrap();
    let schemas: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT schemaname FROM pg_tables WHERE tablename IN ('checks', 'states', 'uptime')",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert_eq!(schemas, ["database_service"]);
}
