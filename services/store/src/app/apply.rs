//! What a task's result does to the task's node.

use serde_json::Value;
use sker_error::{Error, Result};
use sker_types::Time;

use super::{
    body,
    nodes::{self as use_cases, CONTENT_BYTES, Change, TITLE_LENGTH},
};
use crate::store::{
    Tx,
    nodes::{self, Node},
    tasks::Task,
};

/// Applies a result as a new version of the task's node. A node that has been deleted meanwhile is left alone.
pub(super) async fn to_node(tx: &mut Tx, task: &Task, output: &Value, now: Time) -> Result<()> {
    let Some(id) = task.node_id else { return Ok(()) };
    let Some(old) = nodes::find_for_update(tx.conn(), id).await? else { return Ok(()) };
    let mut new = old.clone();
    change(&mut new, &task.kind, output)?;
    if new == old {
        return Ok(());
    }
    let change = Change::ByTask { task: task.id, user: task.user_id };
    use_cases::store_change(tx, &old, &mut new, change, now).await
}

fn change(node: &mut Node, kind: &str, output: &Value) -> Result<()> {
    match kind {
        "content_generation" | "content_optimization" | "content_fusion" => {
            let text = output["text"].as_str().unwrap_or_default();
            if text.len() > CONTENT_BYTES {
                return Err(Error::invalid_request(format!("the text is larger than a node's {CONTENT_BYTES} bytes")));
            }
            if !text.is_empty() {
                node.content = text.to_owned();
                node.ai_generated = true;
            }
            set_title(node, &output["title"]);
        }
        "semantic_analysis" => {
            node.tags = body::add_tags(&node.tags, &output["tags"]);
            set_metadata(node, "semantic_types", &output["semantic_types"]);
            set_metadata(node, "language", &output["language"]);
        }
        "node_enhancement" => {
            set_title(node, &output["title"]);
            node.tags = body::add_tags(&node.tags, &output["tags"]);
            set_metadata(node, "summary", &output["summary"]);
        }
        // Its items belong to no single node.
        _ => return Ok(()),
    }
    node.status = "completed".to_owned();
    Ok(())
}

fn set_title(node: &mut Node, title: &Value) {
    let title = title.as_str().unwrap_or_default().trim();
    if !title.is_empty() {
        node.title = title.chars().take(TITLE_LENGTH).collect();
    }
}

/// Sets a part of the metadata, unless it makes it too large.
fn set_metadata(node: &mut Node, name: &str, value: &Value) {
    let Value::Object(metadata) = &node.metadata else { return };
    if value.is_null() {
        return;
    }
    let mut metadata = metadata.clone();
    metadata.insert(name.to_owned(), value.clone());
    let metadata = Value::Object(metadata);
    if serde_json::to_vec(&metadata).is_ok_and(|text| text.len() <= body::OBJECT_BYTES) {
        node.metadata = metadata;
    }
}
