use sea_orm::{DbErr, EntityTrait, IntoActiveModel};
use sker_db::{Db, DbConfig, db_error, is_unique_violation, unique_violation};
use sker_error::Code;

use crate::{
    schema::{sample, sample::Entity},
    world::worlds,
};

#[tokio::test]
async fn a_second_row_of_the_same_name_is_a_conflict() {
    for world in worlds().await {
        let db = world.migrated().await;
        Entity::insert(sample("same").into_active_model()).exec(db.write()).await.expect("inserted");
        let error = Entity::insert(sample("same").into_active_model()).exec(db.write()).await.expect_err("twice");
        assert!(is_unique_violation(&error), "{world}");
        assert!(unique_violation(&error).expect("a message").contains("name"), "{world}");
        let error = db_error(error);
        assert_eq!(error.code(), Code::Conflict, "{world}");
        assert!(!error.message().contains("samples"), "nothing of the schema is shown: {}", error.message());
        assert!(error.cause().is_some());
    }
}

#[tokio::test]
async fn a_reference_to_nothing_is_a_conflict() {
    for world in worlds().await {
        let db = world.migrated().await;
        let mut orphan = sample("orphan");
        orphan.parent_id = Some(sker_types::new_id());
        let error = Entity::insert(orphan.into_active_model()).exec(db.write()).await.expect_err("no parent");
        assert!(!is_unique_violation(&error));
        assert_eq!(db_error(error).code(), Code::Conflict, "{world}");
    }
}

#[tokio::test]
async fn a_password_is_in_no_error() {
    for url in [
        "postgres://sker:hunter2@127.0.0.1:1/sker",
        "postgres://sker:hunter2@127.0.0.1:1/sker?sslmode=hunter",
        "postgres://sker:hunter2/@127.0.0.1:1/sker",
        "mysql://sker:hunter2@127.0.0.1:1/sker",
        "mysql://sker:hunter2@127.0.0.1:1",
        "mysql://sker:hunter2@127.0.0.1:1/sker?ssl-mode=hunter",
        "mysql://sker:hunter2/@127.0.0.1:1/sker",
    ] {
        let error = Db::connect(&DbConfig::new(url)).await.expect_err(url);
        let shown = format!("{error} {error:?} {:?}", error.cause().map(ToString::to_string));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn other_errors_are_internal_and_keep_their_cause_to_themselves() {
    let error = db_error(DbErr::Custom("secret detail".to_owned()));
    assert_eq!(error.code(), Code::Internal);
    assert!(!error.message().contains("secret detail"));
    assert!(error.cause().expect("a cause").to_string().contains("secret detail"));
}

#[test]
fn a_missing_record_is_not_found() {
    assert_eq!(db_error(DbErr::RecordNotFound("samples".to_owned())).code(), Code::NotFound);
    assert_eq!(db_error(DbErr::RecordNotUpdated).code(), Code::NotFound);
}
