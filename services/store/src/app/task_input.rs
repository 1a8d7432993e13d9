//! What the body of `POST /ai-tasks` may say.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use sker_error::{Fields, Patch, Result};
use sker_types::{Time, Uuid, new_id, parse_id};

use super::{Settings, body, projects};
use crate::store::tasks::{Task, status};

pub(super) const KINDS: [&str; 6] = [
    "content_generation",
    "content_optimization",
    "semantic_analysis",
    "content_fusion",
    "batch_processing",
    "node_enhancement",
];
/// Least urgent first; the place is the rank.
pub(super) const PRIORITIES: [&str; 4] = ["low", "normal", "high", "urgent"];
const MAX_ATTEMPTS: std::ops::RangeInclusive<i64> = 1..=20;
const TIMEOUT_MS: std::ops::RangeInclusive<i64> = 100..=86_400_000;
/// Nodes and texts of one task.
const MOST_INPUTS: usize = 10_000;

/// A task as it was asked for.
pub(super) struct NewTask {
    pub(super) row: Task,
    pub(super) input: Value,
    /// Nodes that must exist in the project.
    pub(super) node_ids: Vec<Uuid>,
}

impl NewTask {
    /// Reads a body and names every fault in it. `project` is the one in the path.
    pub(super) fn read(body: Value, project: Option<Uuid>, user: Uuid, settings: &Settings) -> Result<Self> {
        let mut fields = Fields::new(body)?;
        let project = projects::named(&mut fields, project);
        let kind = fields.one_of("type", &KINDS);
        let kind = fields.require("type", kind);
        let node_id = body::id(&mut fields, "node_id").value();
        let mut row = blank(project.unwrap_or_default(), user, settings);
        read_options(&mut row, &mut fields);
        let (input, node_ids) = read_input(&mut fields);
        fields.finish()?;
        row.node_id = node_id;
        row.kind = kind.unwrap_or_default();
        Ok(NewTask { row, input, node_ids })
    }
}

/// Reads what may also be changed while a task waits.
pub(super) fn read_options(row: &mut Task, fields: &mut Fields) {
    let priority = fields.one_of("priority", &PRIORITIES);
    if let Some(priority) = body::keep(fields, "priority", priority) {
        row.priority_rank = rank(&priority);
        row.priority = priority;
    }
    let max_attempts = fields.integer("max_attempts", MAX_ATTEMPTS);
    if let Some(most) = body::keep(fields, "max_attempts", max_attempts) {
        row.max_attempts = i32::try_from(most).unwrap_or(row.max_attempts);
    }
    let timeout_ms = fields.integer("timeout_ms", TIMEOUT_MS);
    if let Some(timeout_ms) = body::keep(fields, "timeout_ms", timeout_ms) {
        row.timeout_ms = timeout_ms;
    }
    row.scheduled_at = body::time(fields, "scheduled_at").apply(row.scheduled_at);
}

fn rank(priority: &str) -> i32 {
    let place = PRIORITIES.iter().position(|word| *word == priority);
    place.and_then(|place| i32::try_from(place).ok()).unwrap_or(1)
}

fn blank(project_id: Uuid, user_id: Uuid, settings: &Settings) -> Task {
    Task {
        id: new_id(),
        project_id,
        user_id,
        node_id: None,
        kind: String::new(),
        status: status::PENDING.to_owned(),
        priority: "normal".to_owned(),
        priority_rank: rank("normal"),
        attempts: 0,
        max_attempts: settings.task_attempts,
        lost_leases: 0,
        timeout_ms: settings.task_timeout_ms,
        progress: 0,
        progress_message: String::new(),
        lease_epoch: 0,
        lease_session: None,
        lease_ms: 0,
        lease_renewals: 0,
        scheduled_at: None,
        due_at: None,
        wake_at: None,
        wakes: 0,
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
        created_at: Time::default(),
        updated_at: Time::default(),
    }
}

/// `input_data`: open, but `node_ids` and `inputs` are lists, and one of them has something in it.
fn read_input(fields: &mut Fields) -> (Value, Vec<Uuid>) {
    let input = match fields.object("input_data") {
        Patch::Value(input) => input,
        other => {
            fields.require("input_data", other);
            return (json!({}), Vec::new());
        }
    };
    let node_ids = read_node_ids(fields, &input);
    let texts = check_texts(fields, &input);
    if node_ids.is_empty() && texts == 0 {
        // When one of them was given and is wrong, that is fault enough.
        let given = |name: &str| matches!(input.get(name), Some(Value::Array(items)) if !items.is_empty());
        if !given("node_ids") && !given("inputs") {
            fields.fault("input_data", "required", "needs at least one of node_ids and inputs");
        }
    }
    let input = Value::Object(input);
    if body::has_nul(&input) {
        fields.fault("input_data", "invalid", "must not contain the NUL character");
    }
    (input, node_ids)
}

fn list<'a>(fields: &mut Fields, input: &'a Map<String, Value>, name: &str) -> &'a [Value] {
    let path = format!("input_data.{name}");
    match input.get(name) {
        None | Some(Value::Null) => &[],
        Some(Value::Array(items)) if items.len() > MOST_INPUTS => {
            fields.fault(&path, "too_many", format!("must have at most {MOST_INPUTS} items"));
            &[]
        }
        Some(Value::Array(items)) => items,
        Some(_) => {
            fields.fault(&path, "invalid_type", "must be a list");
            &[]
        }
    }
}

fn read_node_ids(fields: &mut Fields, input: &Map<String, Value>) -> Vec<Uuid> {
    let mut ids = Vec::new();
    for (index, item) in list(fields, input, "node_ids").iter().enumerate() {
        match item.as_str().and_then(parse_id) {
            Some(id) => ids.push(id),
            None => fields.fault(&format!("input_data.node_ids[{index}]"), "invalid", "must be a UUID"),
        }
    }
    ids
}

fn check_texts(fields: &mut Fields, input: &Map<String, Value>) -> usize {
    let texts = list(fields, input, "inputs");
    for (index, text) in texts.iter().enumerate() {
        if !text.is_string() {
            fields.fault(&format!("input_data.inputs[{index}]"), "invalid_type", "must be a string");
        }
    }
    texts.len()
}

/// The same for bodies that say the same, whatever the order of their fields.
pub(super) fn request_hash(project: Option<Uuid>, body: &Value) -> String {
    let mut hash = Sha256::new();
    hash.update(project.unwrap_or_default().as_bytes());
    digest(&mut hash, body);
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn digest(hash: &mut Sha256, value: &Value) {
    match value {
        Value::Object(map) => {
            let mut names: Vec<&String> = map.keys().collect();
            names.sort();
            hash.update(b"{");
            for name in names {
                hash.update(Value::from(name.as_str()).to_string().as_bytes());
                digest(hash, &map[name]);
            }
            hash.update(b"}");
        }
        Value::Array(items) => {
            hash.update(b"[");
            items.iter().for_each(|item| digest(hash, item));
            hash.update(b"]");
        }
        // A separator, because numbers have no end of their own.
        scalar => hash.update(format!("{scalar},").as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_a_request_knows_no_order_of_fields() {
        let hash = |body: Value| request_hash(None, &body);
        assert_eq!(hash(json!({"a": 1, "b": [1, 2]})), hash(json!({"b": [1, 2], "a": 1})));
        assert_ne!(hash(json!({"a": [1, 2]})), hash(json!({"a": [2, 1]})));
        assert_ne!(hash(json!({"a": [1, 2]})), hash(json!({"a": [12]})));
        assert_ne!(hash(json!({"a": "1"})), hash(json!({"a": 1})));
    }
}
