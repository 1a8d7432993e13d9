#![expect(
    elided_lifetimes_in_paths,
    reason = "async_trait needs the very signature of MigrationTrait, which hides one"
)]

use sea_orm_migration::prelude::*;
use sker_db::column;

const GROUP: &str = "HUB_REGISTRY_SERVICE_GROUP";
const SERVICE: &str = "HUB_REGISTRY_SERVICE";
const INSTANCE: &str = "HUB_REGISTRY_SERVICE_INSTANCE";
const EVENT: &str = "HUB_REGISTRY_SERVICE_EVENT";

/// Makes the tables of groups, services, instances and events.
pub struct CreateRegistry;

impl MigrationName for CreateRegistry {
    fn name(&self) -> &str {
        "m20260101_000001_registry"
    }
}

/// A name that is part of a key. MySQL indexes only text of a bounded length.
fn name(column: &'static str, length: u32) -> ColumnDef {
    ColumnDef::new(column).string_len(length).not_null().take()
}

#[async_trait::async_trait]
impl MigrationTrait for CreateRegistry {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let group = Table::create()
            .table(GROUP)
            .col(name("tenant_id", 64))
            .col(name("group_name", 100))
            .col(column::text("group_description"))
            .col(name("group_type", 50))
            .col(name("owner_user_id", 100))
            .col(column::json("admin_user_ids"))
            .col(column::json("read_user_ids"))
            .col(column::boolean("access_control_enabled"))
            .col(name("default_protocol_type", 50))
            .col(name("default_load_balance_strategy", 50))
            .col(name("default_health_check_url", 500))
            .col(column::integer("default_health_check_interval_seconds"))
            .col(column::boolean("active_flag"))
            .col(column::time("add_time"))
            .col(column::time("edit_time"))
            .col(column::big_integer("revision"))
            .primary_key(Index::create().col("tenant_id").col("group_name"))
            .take();
        manager.create_table(group).await?;
        let service = Table::create()
            .table(SERVICE)
            .col(name("tenant_id", 64))
            .col(name("group_name", 100))
            .col(name("service_name", 200))
            .col(column::text("service_description"))
            .col(name("protocol_type", 50))
            .col(name("context_path", 200))
            .col(name("load_balance_strategy", 50))
            .col(name("health_check_url", 500))
            .col(column::integer("health_check_interval_seconds"))
            .col(column::double("protection_threshold"))
            .col(column::json("metadata_json"))
            .col(column::json("tags_json"))
            .col(column::boolean("active_flag"))
            .col(column::time("add_time"))
            .col(column::time("edit_time"))
            .primary_key(Index::create().col("tenant_id").col("group_name").col("service_name"))
            .take();
        manager.create_table(service).await?;
        // The endpoint is the key: whatever is written twice, or late, there is one row for it.
        let instance = Table::create()
            .table(INSTANCE)
            .col(name("tenant_id", 64))
            .col(name("group_name", 100))
            .col(name("service_name", 200))
            .col(name("host_address", 253))
            .col(column::integer("port_number"))
            .col(column::uuid("instance_id"))
            .col(name("context_path", 200))
            .col(name("instance_status", 20))
            .col(ColumnDef::new("status_override").string_len(20).null().take())
            .col(name("health_status", 20))
            .col(column::integer("weight_value"))
            .col(name("client_type", 50))
            .col(column::json("metadata_json"))
            .col(column::json("tags_json"))
            .col(column::boolean("ephemeral"))
            .col(column::integer("heartbeat_interval_seconds"))
            .col(column::integer("heartbeat_timeout_seconds"))
            .col(column::integer("evict_after_seconds"))
            .col(column::boolean("trusted"))
            .col(column::time("register_time"))
            .col(column::time("last_heartbeat_time"))
            .col(column::big_integer("revision"))
            .primary_key(
                Index::create()
                    .col("tenant_id")
                    .col("group_name")
                    .col("service_name")
                    .col("host_address")
                    .col("port_number"),
            )
            .take();
        manager.create_table(instance).await?;
        let event = Table::create()
            .table(EVENT)
            .col(column::id("event_id"))
            .col(name("tenant_id", 64))
            .col(name("group_name", 100))
            .col(name("service_name", 200))
            .col(name("instance_id", 36))
            .col(name("host_address", 253))
            .col(column::integer("port_number"))
            .col(name("event_type", 50))
            .col(column::time("event_time"))
            .col(name("actor", 100))
            .col(name("reason", 200))
            .col(name("request_id", 200))
            .col(column::big_integer("revision"))
            .col(column::json("event_data"))
            .take();
        manager.create_table(event).await?;
        let latest = Index::create().name("registry_event_latest").table(EVENT).col("tenant_id").col("revision").take();
        manager.create_index(latest).await?;
        let oldest = Index::create().name("registry_event_oldest").table(EVENT).col("event_time").take();
        manager.create_index(oldest).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [EVENT, INSTANCE, SERVICE, GROUP] {
            manager.drop_table(Table::drop().table(table).take()).await?;
        }
        Ok(())
    }
}
