use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::Time;

/// Names of realtime channels.
pub mod channel {
    use uuid::Uuid;

    /// Everything that happens in a project.
    pub fn project(id: Uuid) -> String {
        format!("project:{id}")
    }

    /// What becomes of one task, with its streamed text.
    pub fn task(id: Uuid) -> String {
        format!("task:{id}")
    }

    /// What concerns one user; clients call it `user:me`.
    pub fn user(id: Uuid) -> String {
        format!("user:{id}")
    }
}

/// Types of events, as CONTRACT.md lists them.
pub mod event_type {
    #![allow(missing_docs, reason = "each constant is the event type it spells")]
    pub const PROJECT_CREATED: &str = "project.created";
    pub const PROJECT_UPDATED: &str = "project.updated";
    pub const PROJECT_DELETED: &str = "project.deleted";
    pub const NODE_CREATED: &str = "node.created";
    pub const NODE_UPDATED: &str = "node.updated";
    pub const NODE_DELETED: &str = "node.deleted";
    pub const CONNECTION_CREATED: &str = "connection.created";
    pub const CONNECTION_UPDATED: &str = "connection.updated";
    pub const CONNECTION_DELETED: &str = "connection.deleted";
    pub const USER_CREATED: &str = "user.created";
    pub const USER_UPDATED: &str = "user.updated";
    pub const TASK_CREATED: &str = "ai_task.created";
    pub const TASK_QUEUED: &str = "ai_task.queued";
    pub const TASK_STARTED: &str = "ai_task.started";
    pub const TASK_RESTARTED: &str = "ai_task.restarted";
    pub const TASK_PROGRESS: &str = "ai_task.progress";
    pub const TASK_CHUNK: &str = "ai_task.chunk";
    pub const TASK_COMPLETED: &str = "ai_task.completed";
    pub const TASK_FAILED: &str = "ai_task.failed";
    pub const TASK_CANCELLED: &str = "ai_task.cancelled";
}

/// Something that happened to an aggregate, as it stands in the outbox and on the bus.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DomainEvent {
    /// Stable across repeated deliveries: the outbox id.
    pub id: Uuid,
    /// One of [`event_type`].
    #[serde(rename = "type")]
    pub kind: String,
    /// What it happened to; events of one aggregate keep their order.
    pub aggregate_id: Uuid,
    /// Realtime channels it shows in.
    pub channels: Vec<String>,
    /// When it happened.
    pub time: Time,
    /// The event's own data.
    pub data: Value,
}

/// What a client of a realtime channel sees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChannelEvent {
    /// The event's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The event's id; the same on every channel it shows in.
    pub id: Uuid,
    /// Its place in the channel; grows by one or more, never falls, fits a JSON number.
    pub seq: u64,
    /// The channel's full name.
    pub channel: String,
    /// When it happened.
    pub time: Time,
    /// The event's own data.
    pub data: Value,
}

/// The body of a message on a work queue: a wake-up, not the work. The row in the store is the truth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskWake {
    /// The task that may be claimed.
    pub task_id: Uuid,
    /// `batch_processing` goes to a queue of its own.
    #[serde(rename = "type")]
    pub kind: String,
    /// low, normal, high or urgent.
    pub priority: String,
}
