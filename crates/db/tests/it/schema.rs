#![expect(
    elided_lifetimes_in_paths,
    reason = "async_trait needs the very signature of MigrationTrait, which hides one"
)]

use sea_orm::{IntoActiveModel, QueryOrder, entity::prelude::*};
use sea_orm_migration::prelude::*;
use serde_json::Value as Json;
use sker_db::{Db, DbConfig, column};
use sker_types::Time;
use tempfile::TempDir;

/// A table with a column of each kind.
pub mod sample {
    use super::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "samples")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub id: Uuid,
        pub parent_id: Option<Uuid>,
        #[sea_orm(unique)]
        pub name: String,
        pub at: Time,
        pub ended_at: Option<Time>,
        pub settings: Json,
        pub active: bool,
        pub weight: f64,
        pub importance: i32,
        pub version: i64,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(CreateSamples)]
    }
}

pub struct CreateSamples;

impl MigrationName for CreateSamples {
    fn name(&self) -> &str {
        "m20260101_000001_samples"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateSamples {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut parent = ForeignKey::create();
        parent.from("samples", "parent_id").to("samples", "id");
        let table = Table::create()
            .table("samples")
            .col(column::id("id"))
            .col(column::uuid_null("parent_id"))
            .col(column::text("name"))
            .col(column::time("at"))
            .col(column::time_null("ended_at"))
            .col(column::json("settings"))
            .col(column::boolean("active"))
            .col(column::double("weight"))
            .col(column::integer("importance"))
            .col(column::version())
            .foreign_key(&mut parent)
            .take();
        manager.create_table(table).await?;
        let index = Index::create().name("samples_name").table("samples").col("name").unique().take();
        manager.create_index(index).await
    }
}

/// A database with the table; the directory lives as long as the test needs the file.
pub async fn database() -> (TempDir, Db) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let db = Db::connect(&DbConfig::sqlite(directory.path().join("data/test.db"))).await.expect("a database");
    db.migrate::<Migrator>().await.expect("migrations");
    (directory, db)
}

pub fn sample(name: &str) -> sample::Model {
    sample::Model {
        id: sker_types::new_id(),
        parent_id: None,
        name: name.to_owned(),
        at: sker_types::now(),
        ended_at: None,
        settings: serde_json::json!({"theme": "dark", "nested": {"列": [1, 2.5, null]}}),
        active: true,
        weight: 1.0,
        importance: 3,
        version: 1,
    }
}

#[tokio::test]
async fn every_kind_of_column_gives_back_what_was_stored() {
    let (_directory, db) = database().await;
    let mut stored = sample("all");
    stored.ended_at = Some(sker_types::now());
    let inserted = sample::Entity::insert(stored.clone().into_active_model()).exec_with_returning(db.write()).await;
    assert_eq!(inserted.expect("inserted"), stored);
    let read = sample::Entity::find_by_id(stored.id).one(db.read()).await.expect("read").expect("found");
    assert_eq!(read, stored);
}

#[tokio::test]
async fn ids_sort_by_the_time_they_were_made() {
    let (_directory, db) = database().await;
    let mut made = Vec::new();
    for number in 0..50 {
        let row = sample(&number.to_string());
        made.push(row.id);
        sample::Entity::insert(row.into_active_model()).exec(db.write()).await.expect("inserted");
    }
    let rows = sample::Entity::find().order_by_asc(sample::Column::Id).all(db.read()).await.expect("rows");
    assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), made);
    let after = sample::Entity::find().filter(sample::Column::Id.gt(made[24])).all(db.read()).await.expect("rows");
    assert_eq!(after.len(), 25);
}

#[tokio::test]
async fn migrating_again_changes_nothing() {
    let (_directory, db) = database().await;
    db.migrate::<Migrator>().await.expect("nothing is pending");
}

/// Two steps, of which the second fails.
struct Broken;

#[async_trait::async_trait]
impl MigratorTrait for Broken {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(CreateSamples), Box::new(Fails)]
    }
}

struct Fails;

impl MigrationName for Fails {
    fn name(&self) -> &str {
        "m20260101_000002_fails"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Fails {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared("CREATE TABLE half (x)").await?;
        manager.get_connection().execute_unprepared("this is not SQL").await?;
        Ok(())
    }
}

#[tokio::test]
async fn a_migration_that_fails_leaves_nothing_behind() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let db = Db::connect(&DbConfig::sqlite(directory.path().join("test.db"))).await.expect("a database");
    db.migrate::<Broken>().await.expect_err("the second step is broken");
    let left = db.read().execute_unprepared("SELECT * FROM half").await;
    assert!(left.is_err(), "the table of the broken step is gone");
    db.migrate::<Migrator>().await.expect("the repaired migrations apply from the start");
}
