#![expect(
    elided_lifetimes_in_paths,
    reason = "async_trait needs the very signature of MigrationTrait, which hides one"
)]

use sea_orm::{IntoActiveModel, QueryOrder, entity::prelude::*};
use sea_orm_migration::prelude::*;
use serde_json::Value as Json;
use sker_db::{Db, DbConfig, column, create_index, create_table};
use sker_types::Time;
use tempfile::TempDir;

use crate::world::worlds;

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
            .col(column::key("name", 100))
            .col(column::time("at"))
            .col(column::time_null("ended_at"))
            .col(column::json("settings"))
            .col(column::boolean("active"))
            .col(column::double("weight"))
            .col(column::integer("importance"))
            .col(column::version())
            .foreign_key(&mut parent)
            .take();
        create_table(manager, table).await?;
        create_index(manager, "samples", "samples_name", Index::create().col("name").unique().take()).await
    }
}

/// A SQLite database with the table; the directory lives as long as the test needs the file.
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
    for world in worlds().await {
        let db = world.migrated().await;
        let mut stored = sample("all");
        stored.ended_at = Some(sker_types::now());
        let inserted = sample::Entity::insert(stored.clone().into_active_model()).exec_with_returning(db.write()).await;
        assert_eq!(inserted.expect("inserted"), stored, "{world}");
        let read = sample::Entity::find_by_id(stored.id).one(db.read()).await.expect("read").expect("found");
        assert_eq!(read, stored, "{world}");
    }
}

#[tokio::test]
async fn ids_sort_by_the_time_they_were_made() {
    for world in worlds().await {
        let db = world.migrated().await;
        let mut made = Vec::new();
        for number in 0..50 {
            let row = sample(&number.to_string());
            made.push(row.id);
            sample::Entity::insert(row.into_active_model()).exec(db.write()).await.expect("inserted");
        }
        let rows = sample::Entity::find().order_by_asc(sample::Column::Id).all(db.read()).await.expect("rows");
        assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), made, "{world}");
        let after = sample::Entity::find().filter(sample::Column::Id.gt(made[24])).all(db.read()).await.expect("rows");
        assert_eq!(after.len(), 25, "{world}");
    }
}

#[tokio::test]
async fn names_that_differ_in_case_or_accents_are_different() {
    for world in worlds().await {
        let db = world.migrated().await;
        for name in ["name", "Name", "n\u{e4}me", "\u{1f980}"] {
            sample::Entity::insert(sample(name).into_active_model()).exec(db.write()).await.expect(name);
        }
        let found = sample::Entity::find().filter(sample::Column::Name.eq("NAME")).one(db.read()).await.expect("read");
        assert!(found.is_none(), "{world}");
    }
}

#[tokio::test]
async fn text_that_is_too_long_for_its_column_is_refused_and_not_cut() {
    for world in worlds().await.into_iter().filter(|world| !world.is_sqlite()) {
        let db = world.migrated().await;
        let long = sample(&"x".repeat(101));
        sample::Entity::insert(long.into_active_model()).exec(db.write()).await.expect_err("too long");
        assert!(sample::Entity::find().one(db.read()).await.expect("read").is_none(), "{world}");
    }
}

#[tokio::test]
async fn migrating_again_changes_nothing() {
    for world in worlds().await {
        let db = world.migrated().await;
        db.migrate::<Migrator>().await.expect("nothing is pending");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn four_replicas_that_start_at_once_migrate_an_empty_database_once() {
    for world in worlds().await {
        let mut starts = Vec::new();
        for _ in 0..4 {
            let config = world.config().clone();
            starts.push(tokio::spawn(async move {
                // SQLite refuses those that come while the first one turns a new file to WAL; a start tries again.
                let db = Db::connect_within(&config, sker_testkit::PATIENCE).await?;
                db.migrate::<Migrator>().await?;
                sample::Entity::insert(sample(&sker_types::new_id().to_string()).into_active_model())
                    .exec(db.write())
                    .await
                    .map_err(sker_db::db_error)
            }));
        }
        for start in starts {
            start.await.expect("ran").unwrap_or_else(|error| panic!("{world}: {error:?}"));
        }
        let rows = sample::Entity::find().all(world.connect().await.read()).await.expect("rows");
        assert_eq!(rows.len(), 4, "{world}");
    }
}

/// Two steps, of which the second fails after its first statement.
struct Broken;

#[async_trait::async_trait]
impl MigratorTrait for Broken {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(CreateSamples), Box::new(Halves { works: false })]
    }
}

/// The same after it was mended, or after the process did not die half way.
struct Mended;

#[async_trait::async_trait]
impl MigratorTrait for Mended {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(CreateSamples), Box::new(Halves { works: true })]
    }
}

struct Halves {
    works: bool,
}

impl MigrationName for Halves {
    fn name(&self) -> &str {
        "m20260101_000002_halves"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Halves {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        create_table(manager, Table::create().table("halves").col(column::id("id")).col(column::time("at")).take())
            .await?;
        create_index(manager, "halves", "halves_at", Index::create().col("at").take()).await?;
        if !self.works {
            manager.get_connection().execute_unprepared("this is not SQL").await?;
        }
        create_table(manager, Table::create().table("other_halves").col(column::id("id")).take()).await
    }
}

#[tokio::test]
async fn a_migration_that_broke_half_way_is_done_again_by_the_next_start() {
    for world in worlds().await {
        let db = world.connect().await;
        db.migrate::<Broken>().await.expect_err("the second step is broken");
        let half = db.write().execute_unprepared("SELECT * FROM halves").await;
        assert_eq!(half.is_ok(), world.is_mysql(), "{world}: only MySQL leaves something behind");
        db.migrate::<Mended>().await.unwrap_or_else(|error| panic!("{world}: {error:?}"));
        db.read()
            .execute_unprepared("SELECT * FROM halves, other_halves, samples")
            .await
            .expect("every table is there");
    }
}
