//! What others hear of a change. Events are small: a node's without its content, a task's with its result only when that
//! is small; the id and version tell what to read.

use serde_json::{Value, json};
use sker_bus::topology;
use sker_error::Result;
use sker_outbox::NewRow;
use sker_types::{TaskWake, channel};

use crate::store::{connections::Connection, nodes::Node, projects::Project, tasks::Task, users::User};

/// Parts of an event's data that are larger than this are left out.
const PART_BYTES: usize = 64 * 1024;

/// Something happened to an account. Shows in the user's own channel, without settings, which may be private.
pub(super) fn user(kind: &str, user: &User) -> NewRow {
    let data = json!({
        "id": user.id,
        "username": user.username,
        "role": user.role,
        "is_active": user.is_active,
        "version": user.version,
    });
    NewRow::event(kind, user.id, vec![channel::user(user.id)], data)
}

/// Something happened to a project. Shows in its channel and its owner's.
pub(super) fn project(kind: &str, project: &Project) -> NewRow {
    let data = json!({
        "id": project.id,
        "owner_id": project.owner_id,
        "name": project.name,
        "status": project.status,
        "is_archived": project.is_archived,
        "version": project.version,
        "updated_at": project.updated_at,
    });
    NewRow::event(kind, project.id, vec![channel::project(project.id), channel::user(project.owner_id)], data)
}

/// Something happened to a node.
pub(super) fn node(kind: &str, node: &Node) -> NewRow {
    let mut data = json!({
        "id": node.id,
        "project_id": node.project_id,
        "title": node.title,
        "importance": node.importance,
        "confidence": node.confidence,
        "status": node.status,
        "tags": node.tags,
        "position": {"x": node.position_x, "y": node.position_y},
        "ai_generated": node.ai_generated,
        "version": node.version,
        "updated_at": node.updated_at,
    });
    add_if_small(&mut data, "metadata", &node.metadata);
    NewRow::event(kind, node.id, vec![channel::project(node.project_id)], data)
}

/// Something happened to a connection.
pub(super) fn connection(kind: &str, connection: &Connection) -> NewRow {
    let mut data = json!({
        "id": connection.id,
        "project_id": connection.project_id,
        "source_node_id": connection.source_node_id,
        "target_node_id": connection.target_node_id,
        "source_handle": non_empty(&connection.source_handle),
        "target_handle": non_empty(&connection.target_handle),
        "type": connection.kind,
        "weight": connection.weight,
        "version": connection.version,
        "updated_at": connection.updated_at,
    });
    add_if_small(&mut data, "metadata", &connection.metadata);
    NewRow::event(kind, connection.id, vec![channel::project(connection.project_id)], data)
}

/// Something happened to a task. `output` is its result, if that is what happened.
pub(super) fn task(kind: &str, task: &Task, output: Option<&Value>) -> NewRow {
    let mut data = task_data(task);
    if let Some(output) = output {
        add_if_small(&mut data, "output_data", output);
    }
    NewRow::event(kind, task.id, task_channels(task), data)
}

/// A task has come so far. Shows in channels only.
pub(super) fn progress(task: &Task) -> NewRow {
    let mut data = task_data(task);
    if !task.progress_message.is_empty() {
        data["message"] = task.progress_message.as_str().into();
    }
    NewRow::realtime(sker_types::event_type::TASK_PROGRESS, task.id, task_channels(task), data)
}

/// Tells brokers that a task may be claimed.
pub(super) fn wake(task: &Task) -> Result<NewRow> {
    let (exchange, key) = topology::work_queue(&task.kind, &task.priority);
    let body = TaskWake { task_id: task.id, kind: task.kind.clone(), priority: task.priority.clone() };
    NewRow::message(exchange, key, WAKE, task.id, &body)
}

/// The `kind` of outbox rows that are wake-ups.
pub(super) const WAKE: &str = "ai_task.wake";

/// A task that was given up, for whoever looks after dead letters.
pub(super) fn dead_letter(task: &Task) -> Result<NewRow> {
    NewRow::message(topology::DEAD_LETTERS, topology::DEAD_LETTER_KEY, "ai_task.dead", task.id, &task_data(task))
}

fn task_channels(task: &Task) -> Vec<String> {
    vec![channel::task(task.id), channel::project(task.project_id), channel::user(task.user_id)]
}

fn task_data(task: &Task) -> Value {
    let mut data = json!({
        "id": task.id,
        "project_id": task.project_id,
        "node_id": task.node_id,
        "type": task.kind,
        "status": task.status,
        "priority": task.priority,
        "progress": task.progress,
        "attempts": task.attempts,
        "epoch": task.lease_epoch,
        "version": task.version,
    });
    if let Some(code) = &task.error_code {
        data["error"] = json!({"code": code, "message": task.error_message});
    }
    data
}

fn add_if_small(data: &mut Value, name: &str, part: &Value) {
    if serde_json::to_vec(part).is_ok_and(|text| text.len() <= PART_BYTES) {
        data[name] = part.clone();
    }
}

/// Handles are stored as empty text where there is none.
pub(super) fn non_empty(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}
