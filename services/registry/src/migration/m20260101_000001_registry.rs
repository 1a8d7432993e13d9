#![expect(
    elided_lifetimes_in_paths,
    reason = "async_trait needs the very signature of MigrationTrait, which hides one"
)]

use sea_orm_migration::prelude::*;
use sker_db::{column, create_index, create_table};

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

#[async_trait::async_trait]
impl MigrationTrait for CreateRegistry {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let group = Table::create()
            .table(GROUP)
            .col(column::key("tenant_id", 64))
            .col(column::key("group_name", 100))
            .col(column::text("group_description"))
            .col(column::key("group_type", 50))
            .col(column::key("owner_user_id", 100))
            .col(column::json("admin_user_ids"))
            .col(column::json("read_user_ids"))
            .col(column::boolean("access_control_enabled"))
            .col(column::key("default_protocol_type", 50))
            .col(column::key("default_load_balance_strategy", 50))
            .col(column::key("default_health_check_url", 500))
            .col(column::integer("default_health_check_interval_seconds"))
            .col(column::boolean("active_flag"))
            .col(column::time("add_time"))
            .col(column::time("edit_time"))
            .col(column::big_integer("revision"))
            .primary_key(Index::create().col("tenant_id").col("group_name"))
            .take();
        create_table(manager, group).await?;
        let service = Table::create()
            .table(SERVICE)
            .col(column::key("tenant_id", 64))
            .col(column::key("group_name", 100))
            .col(column::key("service_name", 200))
            .col(column::text("service_description"))
            .col(column::key("protocol_type", 50))
            .col(column::key("context_path", 200))
            .col(column::key("load_balance_strategy", 50))
            .col(column::key("health_check_url", 500))
            .col(column::integer("health_check_interval_seconds"))
            .col(column::double("protection_threshold"))
            .col(column::json("metadata_json"))
            .col(column::json("tags_json"))
            .col(column::boolean("active_flag"))
            .col(column::time("add_time"))
            .col(column::time("edit_time"))
            .primary_key(Index::create().col("tenant_id").col("group_name").col("service_name"))
            .take();
        create_table(manager, service).await?;
        // The endpoint is the key: whatever is written twice, or late, there is one row for it.
        let instance = Table::create()
            .table(INSTANCE)
            .col(column::key("tenant_id", 64))
            .col(column::key("group_name", 100))
            .col(column::key("service_name", 200))
            .col(column::key("host_address", 253))
            .col(column::integer("port_number"))
            .col(column::uuid("instance_id"))
            .col(column::key("context_path", 200))
            .col(column::key("instance_status", 20))
            .col(ColumnDef::new("status_override").string_len(20).null().take())
            .col(column::key("health_status", 20))
            .col(column::integer("weight_value"))
            .col(column::key("client_type", 50))
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
        create_table(manager, instance).await?;
        let event = Table::create()
            .table(EVENT)
            .col(column::id("event_id"))
            .col(column::key("tenant_id", 64))
            .col(column::key("group_name", 100))
            .col(column::key("service_name", 200))
            .col(column::key("instance_id", 36))
            .col(column::key("host_address", 253))
            .col(column::integer("port_number"))
            .col(column::key("event_type", 50))
            .col(column::time("event_time"))
            .col(column::key("actor", 100))
            .col(column::key("reason", 200))
            .col(column::key("request_id", 200))
            .col(column::big_integer("revision"))
            .col(column::json("event_data"))
            .take();
        create_table(manager, event).await?;
        let latest = Index::create().col("tenant_id").col("revision").take();
        create_index(manager, EVENT, "registry_event_latest", latest).await?;
        create_index(manager, EVENT, "registry_event_oldest", Index::create().col("event_time").take()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [EVENT, INSTANCE, SERVICE, GROUP] {
            manager.drop_table(Table::drop().table(table).take()).await?;
        }
        Ok(())
    }
}
