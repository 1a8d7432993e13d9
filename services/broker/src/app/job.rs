use std::collections::HashMap;

use futures::TryStreamExt;
use serde_json::{Map, Value};
use sker_api::{Ctx, Store};
use sker_error::{Error, Result};
use sker_proto::store::{GetNodesRequest, Node, Task};

use crate::engines::{Failure, Job, Material, TaskKind};

/// What a task asks for: the engine that it names, and the job.
#[derive(Debug)]
pub struct Prepared {
    /// `input_data.engine`.
    pub engine: Option<String>,
    /// The job, with the texts of its nodes.
    pub job: Job,
}

/// Why a task cannot be prepared.
#[derive(Debug)]
pub enum Unprepared {
    /// No other attempt can mend it.
    Failure(Failure),
    /// The store did not answer.
    Store(Error),
}

/// Reads a task's input and fetches the texts of its nodes.
pub async fn prepare_job(store: &dyn Store, ctx: &Ctx, task: &Task) -> Result<Prepared, Unprepared> {
    let invalid = |message: &str| Unprepared::Failure(Failure::permanent("invalid_input", message));
    let kind = TaskKind::parse(&task.r#type).ok_or_else(|| invalid("the type of the task is not known here"))?;
    let Ok(Value::Object(input)) = serde_json::from_str(&task.input_json) else {
        return Err(invalid("input_data is not a JSON object"));
    };
    let inputs = strings(&input, "inputs");
    let mut ids = strings(&input, "node_ids");
    if ids.is_empty() && inputs.is_empty() && !task.node_id.is_empty() {
        ids.push(task.node_id.clone());
    }
    let nodes = match ids.is_empty() {
        true => Vec::new(),
        false => fetch(store, ctx, &task.project_id, ids).await.map_err(Unprepared::Store)?,
    };
    let mut materials: Vec<Material> = nodes.into_iter().map(material).collect();
    materials.extend(inputs.into_iter().map(Material::input));
    if materials.is_empty() {
        return Err(invalid("none of the nodes exists any more"));
    }
    let job = Job {
        kind,
        materials,
        instruction: text(&input, "instruction"),
        context: text(&input, "context"),
        model: Some(text(&input, "model")).filter(|model| !model.is_empty()),
    };
    let engine = Some(text(&input, "engine")).filter(|engine| !engine.is_empty());
    Ok(Prepared { engine, job })
}

/// The nodes in the order asked for, each once.
async fn fetch(store: &dyn Store, ctx: &Ctx, project_id: &str, ids: Vec<String>) -> Result<Vec<Node>> {
    let request = GetNodesRequest { project_id: project_id.to_owned(), ids: ids.clone() };
    let stream = store.get_nodes(ctx, request).await?;
    let mut found: HashMap<String, Node> = stream
        .try_filter_map(|answer| async move { Ok(answer.node.map(|node| (node.id.clone(), node))) })
        .try_collect()
        .await?;
    Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
}

fn material(node: Node) -> Material {
    Material { node_id: Some(node.id), title: node.title, text: node.content, tags: node.tags }
}

fn strings(input: &Map<String, Value>, field: &str) -> Vec<String> {
    let items = input.get(field).and_then(Value::as_array);
    items.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// A string; of anything else (the input is an open object) its JSON.
fn text(input: &Map<String, Value>, field: &str) -> String {
    match input.get(field) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.trim().to_owned(),
        Some(other) => other.to_string(),
    }
}
