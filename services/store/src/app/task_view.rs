//! A task as clients see it.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use sker_types::Uuid;
use utoipa::ToSchema;

use crate::store::tasks::{Payload, Task as Row, status};

/// An AI task.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Task {
    pub(crate) id: Uuid,
    pub(crate) project_id: Uuid,
    pub(crate) user_id: Uuid,
    /// The node that the result is applied to.
    pub(crate) node_id: Option<Uuid>,
    /// `content_generation`, `content_optimization`, `semantic_analysis`, `content_fusion`, `batch_processing` or
    /// `node_enhancement`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// `pending`, `queued`, `processing`, `completed`, `failed` or `cancelled`.
    pub(crate) status: String,
    /// `low`, `normal`, `high` or `urgent`.
    pub(crate) priority: String,
    /// Open: `node_ids`, `inputs`, `context`, `instruction`, `model`, `engine`.
    #[schema(value_type = Object)]
    pub(crate) input_data: Value,
    /// The result, as it is for the type.
    #[schema(value_type = Option<Object>)]
    pub(crate) output_data: Option<Value>,
    /// Why it failed, or why its last attempt did.
    pub(crate) error: Option<TaskError>,
    /// 0 to 100.
    pub(crate) progress: i32,
    /// For people.
    pub(crate) progress_message: Option<String>,
    /// How often it was begun, without those times when its broker was lost.
    pub(crate) attempts: i32,
    pub(crate) max_attempts: i32,
    pub(crate) scheduled_at: Option<DateTime<Utc>>,
    /// When the next attempt may begin, while that is in the future.
    pub(crate) due_at: Option<DateTime<Utc>>,
    /// How long one attempt may take.
    pub(crate) timeout_ms: i64,
    pub(crate) prompt_tokens: Option<i64>,
    pub(crate) completion_tokens: Option<i64>,
    pub(crate) total_tokens: Option<i64>,
    /// In the provider's currency.
    pub(crate) estimated_cost: Option<f64>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) queued_at: Option<DateTime<Utc>>,
    /// When its last attempt began.
    pub(crate) started_at: Option<DateTime<Utc>>,
    /// When it was completed, failed for good or cancelled.
    pub(crate) completed_at: Option<DateTime<Utc>>,
    /// From the start of the last attempt to the end.
    pub(crate) duration_ms: Option<i64>,
    pub(crate) version: i64,
    pub(crate) updated_at: DateTime<Utc>,
    /// Fences what is done under a claim; nothing for users.
    #[serde(skip)]
    pub(crate) lease_epoch: i64,
}

/// Why a task failed.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct TaskError {
    /// For programs: `timeout`, `engine_error`, `invalid_input`, ...
    pub(crate) code: String,
    /// For people.
    pub(crate) message: String,
}

impl Task {
    pub(crate) fn new(row: Row, payload: Option<Payload>) -> Self {
        let (input_data, output_data) =
            payload.map_or((json!({}), None), |payload| (payload.input_data, payload.output_data));
        let error = row.error_code.map(|code| TaskError { code, message: row.error_message.unwrap_or_default() });
        let total_tokens = match (row.prompt_tokens, row.completion_tokens) {
            (None, None) => None,
            (prompt, completion) => Some(prompt.unwrap_or(0).saturating_add(completion.unwrap_or(0))),
        };
        let duration_ms = row.started_at.zip(row.completed_at).map(|(from, to)| (to - from).num_milliseconds().max(0));
        Task {
            id: row.id,
            project_id: row.project_id,
            user_id: row.user_id,
            node_id: row.node_id,
            kind: row.kind,
            status: row.status,
            priority: row.priority,
            input_data,
            output_data,
            error,
            progress: row.progress,
            progress_message: Some(row.progress_message).filter(|text| !text.is_empty()),
            attempts: row.attempts,
            max_attempts: row.max_attempts,
            scheduled_at: row.scheduled_at,
            due_at: row.due_at,
            timeout_ms: row.timeout_ms,
            prompt_tokens: row.prompt_tokens,
            completion_tokens: row.completion_tokens,
            total_tokens,
            estimated_cost: row.estimated_cost,
            created_at: row.created_at,
            queued_at: row.queued_at,
            started_at: row.started_at,
            completed_at: row.completed_at,
            duration_ms,
            version: row.version,
            updated_at: row.updated_at,
            lease_epoch: row.lease_epoch,
        }
    }
}

/// A task as it was when it was made: what a repeated request with the same idempotency key is answered with. What can
/// have changed since then is known, and `asked`, read from the same body, says what it was; so no copy of the answer is
/// kept.
pub(super) fn as_created(row: Row, asked: Row) -> Row {
    Row {
        priority: asked.priority,
        priority_rank: asked.priority_rank,
        max_attempts: asked.max_attempts,
        timeout_ms: asked.timeout_ms,
        scheduled_at: asked.scheduled_at,
        status: status::PENDING.to_owned(),
        attempts: 0,
        lost_leases: 0,
        progress: 0,
        progress_message: String::new(),
        lease_epoch: 0,
        lease_session: None,
        lease_renewals: 0,
        due_at: asked.scheduled_at.filter(|at| *at > row.created_at),
        error_code: None,
        error_message: None,
        prompt_tokens: None,
        completion_tokens: None,
        usage_estimated: false,
        estimated_cost: None,
        queued_at: None,
        started_at: None,
        completed_at: None,
        version: 1,
        updated_at: row.created_at,
        ..row
    }
}
