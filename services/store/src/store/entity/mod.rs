//! SeaORM entities: one row type per table.

macro_rules! entity {
    ($(#[$doc:meta])* $module:ident, $table:literal, { $($(#[$attribute:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        pub(crate) mod $module {
            use sea_orm::entity::prelude::*;

            #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
            #[sea_orm(table_name = $table)]
            pub struct Model { $($(#[$attribute])* pub $field: $type,)* }

            #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
            pub enum Relation {}

            impl ActiveModelBehavior for ActiveModel {}
        }
    };
}

entity! {
    /// Accounts. `email_key` and `username_key` are in lower case.
    user, "users", {
        #[sea_orm(primary_key, auto_increment = false)]
        id: Uuid,
        email: String,
        email_key: String,
        username: String,
        username_key: String,
        password_hash: String,
        role: String,
        avatar_url: Option<String>,
        #[sea_orm(column_type = "JsonBinary")]
        settings: Json,
        is_active: bool,
        last_login_at: Option<DateTimeUtc>,
        version: i64,
        created_at: DateTimeUtc,
        updated_at: DateTimeUtc,
    }
}

entity! {
    /// Sign-ins: each is the family of all refresh tokens that came from it.
    session, "sessions", {
        #[sea_orm(primary_key, auto_increment = false)]
        id: Uuid,
        user_id: Uuid,
        created_at: DateTimeUtc,
        expires_at: DateTimeUtc,
        revoked_at: Option<DateTimeUtc>,
        revoked_reason: Option<String>,
    }
}

entity! {
    /// Refresh tokens, hashed; each is good for one use.
    refresh_token, "refresh_tokens", {
        #[sea_orm(primary_key, auto_increment = false)]
        id: Uuid,
        session_id: Uuid,
        token_hash: String,
        created_at: DateTimeUtc,
        used_at: Option<DateTimeUtc>,
    }
}

entity! {
    /// Projects.
    project, "projects", {
        #[sea_orm(primary_key, auto_increment = false)]
        id: Uuid,
        owner_id: Uuid,
        name: String,
        description: String,
        status: String,
        #[sea_orm(column_type = "JsonBinary")]
        canvas_data: Json,
        #[sea_orm(column_type = "JsonBinary")]
        settings: Json,
        is_archived: bool,
        last_accessed_at: Option<DateTimeUtc>,
        version: i64,
        created_at: DateTimeUtc,
        updated_at: DateTimeUtc,
        deleted_at: Option<DateTimeUtc>,
    }
}

entity! {
    /// Nodes of a canvas.
    node, "nodes", {
        #[sea_orm(primary_key, auto_increment = false)]
        id: Uuid,
        project_id: Uuid,
        created_by: Uuid,
        title: String,
        importance: i32,
        confidence: f64,
        status: String,
        #[sea_orm(column_type = "JsonBinary")]
        tags: Json,
        position_x: f64,
        position_y: f64,
        #[sea_orm(column_type = "JsonBinary")]
        metadata: Json,
        ai_generated: bool,
        version: i64,
        created_at: DateTimeUtc,
        updated_at: DateTimeUtc,
        deleted_at: Option<DateTimeUtc>,
        #[sea_orm(column_type = "Text")]
        content: String,
    }
}

entity! {
    /// What a node was like after each change of its content.
    node_version, "node_versions", {
        #[sea_orm(primary_key, auto_increment = false)]
        id: Uuid,
        node_id: Uuid,
        version: i64,
        title: String,
        #[sea_orm(column_type = "JsonBinary")]
        tags: Json,
        #[sea_orm(column_type = "JsonBinary")]
        metadata: Json,
        reason: String,
        task_id: Option<Uuid>,
        changed_by: Option<Uuid>,
        created_at: DateTimeUtc,
        #[sea_orm(column_type = "Text")]
        content: String,
    }
}

entity! {
    /// Edges between nodes.
    connection, "connections", {
        #[sea_orm(primary_key, auto_increment = false)]
        id: Uuid,
        project_id: Uuid,
        created_by: Uuid,
        source_node_id: Uuid,
        target_node_id: Uuid,
        source_handle: String,
        target_handle: String,
        kind: String,
        weight: f64,
        #[sea_orm(column_type = "JsonBinary")]
        metadata: Json,
        version: i64,
        created_at: DateTimeUtc,
        updated_at: DateTimeUtc,
        deleted_at: Option<DateTimeUtc>,
    }
}

entity! {
    /// AI tasks without their large parts.
    task, "ai_tasks", {
        #[sea_orm(primary_key, auto_increment = false)]
        id: Uuid,
        project_id: Uuid,
        user_id: Uuid,
        node_id: Option<Uuid>,
        kind: String,
        status: String,
        priority: String,
        priority_rank: i32,
        attempts: i32,
        max_attempts: i32,
        lost_leases: i32,
        timeout_ms: i64,
        progress: i32,
        progress_message: String,
        lease_epoch: i64,
        lease_session: Option<String>,
        lease_ms: i64,
        lease_renewals: i64,
        scheduled_at: Option<DateTimeUtc>,
        due_at: Option<DateTimeUtc>,
        wake_at: Option<DateTimeUtc>,
        wakes: i32,
        error_code: Option<String>,
        error_message: Option<String>,
        prompt_tokens: Option<i64>,
        completion_tokens: Option<i64>,
        usage_estimated: bool,
        estimated_cost: Option<f64>,
        queued_at: Option<DateTimeUtc>,
        started_at: Option<DateTimeUtc>,
        completed_at: Option<DateTimeUtc>,
        version: i64,
        created_at: DateTimeUtc,
        updated_at: DateTimeUtc,
    }
}

entity! {
    /// The large parts of AI tasks.
    task_payload, "ai_task_payloads", {
        #[sea_orm(primary_key, auto_increment = false)]
        task_id: Uuid,
        #[sea_orm(column_type = "JsonBinary")]
        input_data: Json,
        #[sea_orm(column_type = "JsonBinary", nullable)]
        output_data: Option<Json>,
    }
}

entity! {
    /// Keys that clients sent with a request, and the task it made.
    idempotency_key, "idempotency_keys", {
        #[sea_orm(primary_key, auto_increment = false)]
        user_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        key: String,
        request_hash: String,
        task_id: Uuid,
        created_at: DateTimeUtc,
    }
}
