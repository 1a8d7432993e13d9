use sea_orm::{ConnectionTrait, EntityTrait, IntoActiveModel, PaginatorTrait, Statement};
use sker_db::{Db, DbConfig, db_error};
use sker_error::Code;
use url::Url;

use crate::{
    schema::{Migrator, sample, sample::Entity},
    world::postgres,
};

async fn text(db: &Db, query: &str) -> String {
    let row = db.read().query_one_raw(Statement::from_string(db.backend(), query)).await.expect("read").expect("a row");
    row.try_get_by_index(0).expect("text")
}

#[tokio::test]
async fn the_server_knows_which_service_asks() {
    let world = postgres().await;
    let db = Db::connect(&world.config().clone().of_service("store")).await.expect("a database");
    assert_eq!(text(&db, "SHOW application_name").await, "sker-store");
    assert_eq!(text(&db, "SHOW search_path").await, "samples");
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_broken_off_and_may_be_tried_again() {
    let world = postgres().await;
    let config = DbConfig { statement_timeout_ms: 50, ..world.config().clone() };
    let db = Db::connect(&config).await.expect("a database");
    let error = db.write().execute_unprepared("SELECT pg_sleep(600)").await.expect_err("too long");
    assert_eq!(db_error(error).code(), Code::Unavailable);
    db.migrate::<Migrator>().await.expect("migrations may take their time");
}

#[tokio::test]
async fn a_role_that_may_not_make_schemas_migrates_in_the_one_it_was_given() {
    let world = postgres().await;
    let admin = world.connect().await;
    let role = format!("sker_role_{}", sker_types::new_id().simple());
    admin.write().execute_unprepared(&format!("CREATE ROLE {role} LOGIN")).await.expect("a role");
    admin.write().execute_unprepared(&format!("CREATE SCHEMA samples AUTHORIZATION {role}")).await.expect("a schema");
    let mut url = Url::parse(&world.config().url).expect("a URL");
    url.set_username(&role).expect("a user");
    let db = Db::connect(&DbConfig { url: url.into(), ..world.config().clone() }).await.expect("a database");
    let refused = db.write().execute_unprepared("CREATE SCHEMA another").await;
    refused.expect_err("the role may not make schemas");
    db.migrate::<Migrator>().await.expect("migrations");
    Entity::insert(sample("own").into_active_model()).exec(db.write()).await.expect("inserted");
    db.close().await;
    for statement in [format!("DROP OWNED BY {role}"), format!("DROP ROLE {role}")] {
        admin.write().execute_unprepared(&statement).await.expect("dropped");
    }
}

#[tokio::test]
async fn a_snapshot_sees_one_state_and_cannot_write() {
    let world = postgres().await;
    let db = world.migrated().await;
    let snapshot = db.begin_read().await.expect("begun");
    assert_eq!(Entity::find().count(&snapshot).await.expect("count"), 0);
    Entity::insert(sample("new").into_active_model()).exec(db.write()).await.expect("inserted");
    assert_eq!(Entity::find().count(&snapshot).await.expect("count"), 0);
    Entity::insert(sample("refused").into_active_model()).exec(&snapshot).await.expect_err("it only reads");
}

#[tokio::test]
async fn a_url_may_ask_for_an_encrypted_connection() {
    let world = postgres().await;
    let required = Db::connect(&DbConfig::new(format!("{}?sslmode=require", world.config().url))).await;
    // The test server has no certificate, and nothing falls back to an open connection.
    assert_eq!(required.expect_err("not encrypted").code(), Code::Unavailable);
    Db::connect(&DbConfig::new(format!("{}?sslmode=disable", world.config().url))).await.expect("an open one");
}
