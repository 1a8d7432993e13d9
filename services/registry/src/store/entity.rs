//! The tables as SeaORM sees them. What the columns mean is said in `app::model`.

/// `HUB_REGISTRY_SERVICE_GROUP`
pub mod group {
    use sea_orm::entity::prelude::*;
    use sker_types::Time;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "HUB_REGISTRY_SERVICE_GROUP")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub group_name: String,
        pub group_description: String,
        pub group_type: String,
        pub owner_user_id: String,
        #[sea_orm(column_type = "JsonBinary")]
        pub admin_user_ids: Json,
        #[sea_orm(column_type = "JsonBinary")]
        pub read_user_ids: Json,
        pub access_control_enabled: bool,
        pub default_protocol_type: String,
        pub default_load_balance_strategy: String,
        pub default_health_check_url: String,
        pub default_health_check_interval_seconds: i32,
        pub active_flag: bool,
        pub add_time: Time,
        pub edit_time: Time,
        pub revision: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// `HUB_REGISTRY_SERVICE`
pub mod service {
    use sea_orm::entity::prelude::*;
    use sker_types::Time;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "HUB_REGISTRY_SERVICE")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub group_name: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub service_name: String,
        pub service_description: String,
        pub protocol_type: String,
        pub context_path: String,
        pub load_balance_strategy: String,
        pub health_check_url: String,
        pub health_check_interval_seconds: i32,
        pub protection_threshold: f64,
        #[sea_orm(column_type = "JsonBinary")]
        pub metadata_json: Json,
        #[sea_orm(column_type = "JsonBinary")]
        pub tags_json: Json,
        pub active_flag: bool,
        pub add_time: Time,
        pub edit_time: Time,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// `HUB_REGISTRY_SERVICE_INSTANCE`
pub mod instance {
    use sea_orm::entity::prelude::*;
    use sker_types::Time;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "HUB_REGISTRY_SERVICE_INSTANCE")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub tenant_id: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub group_name: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub service_name: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub host_address: String,
        #[sea_orm(primary_key, auto_increment = false)]
        pub port_number: i32,
        pub instance_id: Uuid,
        pub context_path: String,
        pub instance_status: String,
        pub status_override: Option<String>,
        pub health_status: String,
        pub weight_value: i32,
        pub client_type: String,
        #[sea_orm(column_type = "JsonBinary")]
        pub metadata_json: Json,
        #[sea_orm(column_type = "JsonBinary")]
        pub tags_json: Json,
        pub ephemeral: bool,
        pub heartbeat_interval_seconds: i32,
        pub heartbeat_timeout_seconds: i32,
        pub evict_after_seconds: i32,
        pub trusted: bool,
        pub register_time: Time,
        pub last_heartbeat_time: Time,
        pub revision: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// `HUB_REGISTRY_SERVICE_EVENT`
pub mod event {
    use sea_orm::entity::prelude::*;
    use sker_types::Time;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "HUB_REGISTRY_SERVICE_EVENT")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub event_id: Uuid,
        pub tenant_id: String,
        pub group_name: String,
        pub service_name: String,
        pub instance_id: String,
        pub host_address: String,
        pub port_number: i32,
        pub event_type: String,
        pub event_time: Time,
        pub actor: String,
        pub reason: String,
        pub request_id: String,
        pub revision: i64,
        #[sea_orm(column_type = "JsonBinary")]
        pub event_data: Json,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
