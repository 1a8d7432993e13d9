#![expect(
    elided_lifetimes_in_paths,
    reason = "async_trait needs the very signature of MigrationTrait, which hides one"
)]

use sea_orm_migration::prelude::*;
use sker_db::column;

/// Makes the tables of checks, states and uptime.
pub struct Checks;

impl MigrationName for Checks {
    fn name(&self) -> &str {
        "m20260101_000001_checks"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Checks {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let checks = Table::create()
            .table("checks")
            .col(column::id("id"))
            .col(column::text("target"))
            .col(column::text("kind"))
            .col(column::time("checked_at"))
            .col(column::boolean("success"))
            .col(column::text("status"))
            .col(column::double("latency_ms"))
            .col(column::text_null("error_step"))
            .col(column::text_null("error_message"))
            .take();
        manager.create_table(checks).await?;
        // Ids are UUIDv7, so this is the order of time.
        let by_target =
            Index::create().name("checks_target").table("checks").col("target").col("kind").col("id").take();
        manager.create_index(by_target).await?;
        let states = Table::create()
            .table("states")
            .col(column::text("target"))
            .col(column::text("kind"))
            .col(column::text("condition"))
            .col(column::time("since"))
            .col(column::time_null("failing_since"))
            .col(column::big_integer("failures"))
            .col(column::big_integer("successes"))
            .primary_key(Index::create().col("target").col("kind"))
            .take();
        manager.create_table(states).await?;
        let uptime = Table::create()
            .table("uptime")
            .col(column::text("target"))
            .col(column::text("kind"))
            .col(column::big_integer("hour"))
            .col(column::big_integer("up_ms"))
            .col(column::big_integer("down_ms"))
            .primary_key(Index::create().col("target").col("kind").col("hour"))
            .take();
        manager.create_table(uptime).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["uptime", "states", "checks"] {
            manager.drop_table(Table::drop().table(table).take()).await?;
        }
        Ok(())
    }
}
