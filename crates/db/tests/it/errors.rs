use sea_orm::{DbErr, EntityTrait, IntoActiveModel};
use sker_db::{db_error, is_unique_violation, unique_violation};
use sker_error::Code;

use crate::schema::{database, sample, sample::Entity};

#[tokio::test]
async fn a_second_row_of_the_same_name_is_a_conflict() {
    let (_directory, db) = database().await;
    Entity::insert(sample("same").into_active_model()).exec(db.write()).await.expect("inserted");
    let error = Entity::insert(sample("same").into_active_model()).exec(db.write()).await.expect_err("twice");
    assert!(is_unique_violation(&error));
    assert!(unique_violation(&error).expect("a message").contains("name"));
    let error = db_error(error);
    assert_eq!(error.code(), Code::Conflict);
    assert!(!error.message().contains("samples"), "nothing of the schema is shown: {}", error.message());
    assert!(error.cause().is_some());
}

#[tokio::test]
async fn a_reference_to_nothing_is_a_conflict() {
    let (_directory, db) = database().await;
    let mut orphan = sample("orphan");
    orphan.parent_id = Some(sker_types::new_id());
    let error = Entity::insert(orphan.into_active_model()).exec(db.write()).await.expect_err("no parent");
    assert!(!is_unique_violation(&error));
    assert_eq!(db_error(error).code(), Code::Conflict);
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
