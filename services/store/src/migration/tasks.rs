#![expect(
    elided_lifetimes_in_paths,
    reason = "async_trait needs the very signature of MigrationTrait, which hides one"
)]

use sea_orm_migration::prelude::*;
use sker_db::column;

/// AI tasks. What changes often stands in one small row, what is large in another, so that a report of progress does not
/// rewrite megabytes.
pub(super) struct CreateTasks;

impl MigrationName for CreateTasks {
    fn name(&self) -> &str {
        "m20260101_000003_tasks"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateTasks {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [tasks(), payloads(), idempotency_keys()] {
            manager.create_table(table).await?;
        }
        let connection = manager.get_connection();
        for index in [
            "CREATE INDEX ai_tasks_project ON ai_tasks (project_id, created_at, id)",
            "CREATE INDEX ai_tasks_list ON ai_tasks (created_at, id)",
            "CREATE INDEX ai_tasks_node ON ai_tasks (node_id) WHERE node_id IS NOT NULL",
            "CREATE INDEX ai_tasks_waiting ON ai_tasks (priority_rank DESC, created_at) WHERE status IN ('pending', 'queued')",
            "CREATE INDEX ai_tasks_wake ON ai_tasks (wake_at) WHERE status IN ('pending', 'queued')",
            "CREATE INDEX ai_tasks_processing ON ai_tasks (lease_session) WHERE status = 'processing'",
            "CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at)",
        ] {
            connection.execute_unprepared(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["idempotency_keys", "ai_task_payloads", "ai_tasks"] {
            manager.drop_table(Table::drop().table(table).take()).await?;
        }
        Ok(())
    }
}

fn tasks() -> TableCreateStatement {
    Table::create()
        .table("ai_tasks")
        .col(column::id("id"))
        .col(column::uuid("project_id"))
        .col(column::uuid("user_id"))
        .col(column::uuid_null("node_id"))
        .col(column::text("kind"))
        .col(column::text("status"))
        .col(column::text("priority"))
        .col(column::integer("priority_rank"))
        .col(column::integer("attempts"))
        .col(column::integer("max_attempts"))
        .col(column::integer("lost_leases"))
        .col(column::big_integer("timeout_ms"))
        .col(column::integer("progress"))
        .col(column::text("progress_message"))
        .col(column::big_integer("lease_epoch"))
        .col(column::text_null("lease_session"))
        .col(column::big_integer("lease_ms"))
        .col(column::big_integer("lease_renewals"))
        .col(column::time_null("scheduled_at"))
        .col(column::time_null("due_at"))
        .col(column::time_null("wake_at"))
        .col(column::integer("wakes"))
        .col(column::text_null("error_code"))
        .col(column::text_null("error_message"))
        .col(column::big_integer_null("prompt_tokens"))
        .col(column::big_integer_null("completion_tokens"))
        .col(column::boolean("usage_estimated"))
        .col(column::double_null("estimated_cost"))
        .col(column::time_null("queued_at"))
        .col(column::time_null("started_at"))
        .col(column::time_null("completed_at"))
        .col(column::version())
        .col(column::time("created_at"))
        .col(column::time("updated_at"))
        .foreign_key(ForeignKey::create().from("ai_tasks", "project_id").to("projects", "id"))
        .foreign_key(ForeignKey::create().from("ai_tasks", "user_id").to("users", "id"))
        .foreign_key(ForeignKey::create().from("ai_tasks", "node_id").to("nodes", "id"))
        .take()
}

fn payloads() -> TableCreateStatement {
    Table::create()
        .table("ai_task_payloads")
        .col(column::id("task_id"))
        .col(column::json("input_data"))
        .col(column::json_null("output_data"))
        .foreign_key(
            ForeignKey::create()
                .from("ai_task_payloads", "task_id")
                .to("ai_tasks", "id")
                .on_delete(ForeignKeyAction::Cascade),
        )
        .take()
}

fn idempotency_keys() -> TableCreateStatement {
    Table::create()
        .table("idempotency_keys")
        .col(column::uuid("user_id"))
        .col(column::text("key"))
        .col(column::text("request_hash"))
        .col(column::uuid("task_id"))
        .col(column::time("created_at"))
        .primary_key(Index::create().col("user_id").col("key"))
        .take()
}
