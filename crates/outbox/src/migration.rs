#![expect(
    elided_lifetimes_in_paths,
    reason = "async_trait needs the very signature of MigrationTrait, which hides one"
)]

use sea_orm_migration::prelude::*;
use sker_db::column;

/// The migration that makes the table `outbox`, for a service's list of migrations.
pub fn migration() -> Box<dyn MigrationTrait> {
    Box::new(CreateOutbox)
}

/// Makes the table `outbox`.
pub struct CreateOutbox;

impl MigrationName for CreateOutbox {
    fn name(&self) -> &str {
        "m20260101_000000_outbox"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateOutbox {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("outbox")
            .col(ColumnDef::new("position").big_integer().not_null().auto_increment().primary_key())
            .col(column::uuid("id"))
            .col(column::text_null("exchange"))
            .col(column::text("key"))
            .col(column::text("kind"))
            .col(column::uuid("aggregate_id"))
            .col(column::json("channels"))
            .col(column::json("data"))
            .col(column::text_null("traceparent"))
            .col(column::time("created_at"))
            .col(column::time_null("published_at"))
            .take();
        manager.create_table(table).await?;
        let id = Index::create().name("outbox_id").table("outbox").col("id").unique().take();
        manager.create_index(id).await?;
        // Unpublished rows in order are one range of it, and so are the oldest published ones. A partial index would be
        // smaller, but MySQL has none.
        let pending = Index::create().name("outbox_pending").table("outbox").col("published_at").col("position").take();
        manager.create_index(pending).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("outbox").take()).await
    }
}
