//! What request bodies look like, for the API description; the use cases read them.
#![expect(dead_code, reason = "these describe bodies; nothing makes one")]

use chrono::{DateTime, Utc};
use serde_json::Value;
use sker_types::Uuid;
use utoipa::ToSchema;

#[derive(ToSchema)]
pub(super) struct Registration {
    email: String,
    #[schema(min_length = 2, max_length = 50)]
    username: String,
    #[schema(min_length = 8, max_length = 200)]
    password: String,
}

#[derive(ToSchema)]
pub(super) struct Login {
    email: String,
    password: String,
}

#[derive(ToSchema)]
pub(super) struct Refresh {
    refresh_token: String,
}

#[derive(ToSchema)]
pub(super) struct UserPatch {
    email: Option<String>,
    username: Option<String>,
    avatar_url: Option<String>,
    #[schema(value_type = Option<Object>)]
    settings: Option<Value>,
    /// `admin` or `user`; for administrators.
    role: Option<String>,
    /// For administrators.
    is_active: Option<bool>,
}

#[derive(ToSchema)]
pub(super) struct ProjectBody {
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    description: Option<String>,
    /// `active`, `paused`, `completed` or `archived`.
    #[schema(default = "active")]
    status: Option<String>,
    #[schema(value_type = Option<Object>)]
    canvas_data: Option<Value>,
    #[schema(value_type = Option<Object>)]
    settings: Option<Value>,
    is_archived: Option<bool>,
}

#[derive(ToSchema)]
pub(super) struct NodeBody {
    /// Required where the path names no project.
    project_id: Option<Uuid>,
    #[schema(max_length = 500)]
    title: Option<String>,
    /// At most 4 MiB.
    content: Option<String>,
    #[schema(minimum = 1, maximum = 5, default = 3)]
    importance: Option<i32>,
    #[schema(minimum = 0, maximum = 100, default = 0)]
    confidence: Option<f64>,
    /// `idle`, `processing`, `completed` or `error`.
    #[schema(default = "idle")]
    status: Option<String>,
    tags: Option<Vec<String>>,
    #[schema(value_type = Option<crate::app::Position>)]
    position: Option<crate::app::Position>,
    #[schema(value_type = Option<Object>)]
    metadata: Option<Value>,
    ai_generated: Option<bool>,
}

#[derive(ToSchema)]
pub(super) struct NodeBatch {
    /// Nodes to make.
    #[schema(value_type = Option<Vec<Object>>)]
    create: Option<Vec<NodeBody>>,
    /// Patches, each with the node's `id` and optionally `if_match`.
    #[schema(value_type = Option<Vec<Object>>)]
    update: Option<Vec<Value>>,
    /// Nodes to delete.
    delete: Option<Vec<Uuid>>,
}

#[derive(ToSchema)]
pub(super) struct ConnectionBody {
    /// The project of the source when it is not given.
    project_id: Option<Uuid>,
    source_node_id: Uuid,
    target_node_id: Uuid,
    source_handle: Option<String>,
    target_handle: Option<String>,
    /// `input`, `output`, `bidirectional` or `reference`.
    #[schema(rename = "type", default = "output")]
    kind: Option<String>,
    #[schema(minimum = 0, maximum = 1, default = 1)]
    weight: Option<f64>,
    #[schema(value_type = Option<Object>)]
    metadata: Option<Value>,
}

#[derive(ToSchema)]
pub(super) struct TaskBody {
    /// Required where the path names no project.
    project_id: Option<Uuid>,
    /// `content_generation`, `content_optimization`, `semantic_analysis`, `content_fusion`, `batch_processing` or
    /// `node_enhancement`.
    #[schema(rename = "type")]
    kind: String,
    /// The result is applied to this node.
    node_id: Option<Uuid>,
    /// `node_ids` or `inputs`, also `context`, `instruction`, `model`, `engine`.
    #[schema(value_type = Object)]
    input_data: Value,
    /// `low`, `normal`, `high` or `urgent`.
    #[schema(default = "normal")]
    priority: Option<String>,
    #[schema(minimum = 1, maximum = 20, default = 3)]
    max_attempts: Option<i32>,
    #[schema(minimum = 100, maximum = 86400000)]
    timeout_ms: Option<i64>,
    scheduled_at: Option<DateTime<Utc>>,
}

#[derive(ToSchema)]
pub(super) struct TaskPatch {
    priority: Option<String>,
    max_attempts: Option<i32>,
    timeout_ms: Option<i64>,
    scheduled_at: Option<DateTime<Utc>>,
}

/// One page of a list.
macro_rules! page {
    ($name:ident, $item:path) => {
        /// One page of a list.
        #[derive(ToSchema)]
        pub(super) struct $name {
            data: Vec<$item>,
            /// Passed back as `?cursor=` for the next page; `null` on the last one.
            next_cursor: Option<String>,
        }
    };
}

page!(UserPage, crate::app::User);
page!(ProjectPage, crate::app::Project);
page!(NodePage, crate::app::Node);
page!(NodeVersionPage, crate::app::NodeVersion);
page!(ConnectionPage, crate::app::Connection);
page!(TaskPage, crate::app::Task);
