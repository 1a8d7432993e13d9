#![expect(
    elided_lifetimes_in_paths,
    reason = "async_trait needs the very signature of MigrationTrait, which hides one"
)]

use sea_orm_migration::prelude::*;
use sker_db::column;

/// Projects, nodes with their versions, and connections.
pub(super) struct CreateCanvas;

impl MigrationName for CreateCanvas {
    fn name(&self) -> &str {
        "m20260101_000002_canvas"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for CreateCanvas {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [projects(), nodes(), node_versions(), connections()] {
            manager.create_table(table).await?;
        }
        let connection = manager.get_connection();
        for index in [
            "CREATE INDEX projects_owner ON projects (owner_id, created_at, id) WHERE deleted_at IS NULL",
            "CREATE INDEX projects_list ON projects (created_at, id) WHERE deleted_at IS NULL",
            "CREATE INDEX nodes_project ON nodes (project_id, created_at, id) WHERE deleted_at IS NULL",
            "CREATE INDEX nodes_list ON nodes (created_at, id) WHERE deleted_at IS NULL",
            "CREATE UNIQUE INDEX node_versions_version ON node_versions (node_id, version)",
            "CREATE INDEX node_versions_list ON node_versions (node_id, created_at, id)",
            "CREATE INDEX connections_project ON connections (project_id, created_at, id) WHERE deleted_at IS NULL",
            "CREATE INDEX connections_list ON connections (created_at, id) WHERE deleted_at IS NULL",
            "CREATE INDEX connections_target ON connections (target_node_id) WHERE deleted_at IS NULL",
            // Handles are empty rather than NULL, which a unique index would take for different from itself.
            "CREATE UNIQUE INDEX connections_edge ON connections \
             (source_node_id, target_node_id, kind, source_handle, target_handle) WHERE deleted_at IS NULL",
        ] {
            connection.execute_unprepared(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["connections", "node_versions", "nodes", "projects"] {
            manager.drop_table(Table::drop().table(table).take()).await?;
        }
        Ok(())
    }
}

fn projects() -> TableCreateStatement {
    Table::create()
        .table("projects")
        .col(column::id("id"))
        .col(column::uuid("owner_id"))
        .col(column::text("name"))
        .col(column::text("description"))
        .col(column::text("status"))
        .col(column::json("canvas_data"))
        .col(column::json("settings"))
        .col(column::boolean("is_archived"))
        .col(column::time_null("last_accessed_at"))
        .col(column::version())
        .col(column::time("created_at"))
        .col(column::time("updated_at"))
        .col(column::time_null("deleted_at"))
        .foreign_key(ForeignKey::create().from("projects", "owner_id").to("users", "id"))
        .take()
}

fn nodes() -> TableCreateStatement {
    Table::create()
        .table("nodes")
        .col(column::id("id"))
        .col(column::uuid("project_id"))
        .col(column::uuid("created_by"))
        .col(column::text("title"))
        .col(column::integer("importance"))
        .col(column::double("confidence"))
        .col(column::text("status"))
        .col(column::json("tags"))
        .col(column::double("position_x"))
        .col(column::double("position_y"))
        .col(column::json("metadata"))
        .col(column::boolean("ai_generated"))
        .col(column::version())
        .col(column::time("created_at"))
        .col(column::time("updated_at"))
        .col(column::time_null("deleted_at"))
        // Last, so that SQLite can read the other columns without walking through a large text's pages.
        .col(column::text("content"))
        .foreign_key(ForeignKey::create().from("nodes", "project_id").to("projects", "id"))
        .take()
}

fn node_versions() -> TableCreateStatement {
    Table::create()
        .table("node_versions")
        .col(column::id("id"))
        .col(column::uuid("node_id"))
        .col(column::version())
        .col(column::text("title"))
        .col(column::json("tags"))
        .col(column::json("metadata"))
        .col(column::text("reason"))
        .col(column::uuid_null("task_id"))
        .col(column::uuid_null("changed_by"))
        .col(column::time("created_at"))
        .col(column::text("content"))
        .foreign_key(ForeignKey::create().from("node_versions", "node_id").to("nodes", "id"))
        .take()
}

fn connections() -> TableCreateStatement {
    Table::create()
        .table("connections")
        .col(column::id("id"))
        .col(column::uuid("project_id"))
        .col(column::uuid("created_by"))
        .col(column::uuid("source_node_id"))
        .col(column::uuid("target_node_id"))
        .col(column::text("source_handle"))
        .col(column::text("target_handle"))
        .col(column::text("kind"))
        .col(column::double("weight"))
        .col(column::json("metadata"))
        .col(column::version())
        .col(column::time("created_at"))
        .col(column::time("updated_at"))
        .col(column::time_null("deleted_at"))
        .foreign_key(ForeignKey::create().from("connections", "project_id").to("projects", "id"))
        .foreign_key(ForeignKey::create().from("connections", "source_node_id").to("nodes", "id"))
        .foreign_key(ForeignKey::create().from("connections", "target_node_id").to("nodes", "id"))
        .take()
}
