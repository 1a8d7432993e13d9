//! Many nodes made, changed and deleted together, or none of them.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use serde_json::Value;
use sker_api::Ctx;
use sker_error::{Error, Fields, Patch, Result};
use sker_types::{Uuid, event_type, now, parse_id};
use utoipa::ToSchema;

use super::{
    App, Expected, Node, access, acting_user, events,
    nodes::{self as use_cases, Change},
    projects,
};
use crate::store::nodes::{self, Node as Row};

/// The most nodes of one batch.
const MOST: usize = 5_000;

/// What became of a batch.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchOutcome {
    /// In the order of the request.
    created: Vec<Node>,
    /// In the order of the request.
    updated: Vec<Node>,
    /// In the order of the request.
    deleted: Vec<Uuid>,
}

struct Batch {
    create: Vec<Row>,
    update: Vec<Update>,
    delete: Vec<Uuid>,
}

struct Update {
    id: Uuid,
    expected: Expected,
    fields: Fields,
}

impl App {
    /// Carries out a batch in one transaction.
    pub(crate) async fn batch_nodes(&self, ctx: &Ctx, project: Uuid, body: Value) -> Result<BatchOutcome> {
        let user = acting_user(ctx)?;
        let mut batch = read(body, project, user)?;
        let mut tx = self.store.begin().await?;
        access::project_to_fill(tx.conn(), ctx, project).await?;
        let now = now();

        let named: Vec<Uuid> =
            batch.update.iter().map(|update| update.id).chain(batch.delete.iter().copied()).collect();
        let found = nodes::find_many_for_update(tx.conn(), project, &named).await?;
        let mut found: HashMap<Uuid, Row> = found.into_iter().map(|row| (row.id, row)).collect();
        let missing: Vec<String> = named.iter().filter(|id| !found.contains_key(id)).map(Uuid::to_string).collect();
        if !missing.is_empty() {
            return Err(Error::not_found(&format!("node: {}", missing.join(", "))));
        }

        let mut changes = Vec::with_capacity(batch.update.len());
        for (index, Update { id, expected, mut fields }) in batch.update.into_iter().enumerate() {
            let old = found.remove(&id).ok_or_else(|| Error::internal("a batch names a node twice"))?;
            expected.check(old.version)?;
            let mut new = old.clone();
            use_cases::patch(&mut new, &mut fields);
            fields.finish().map_err(|error| at(error, index))?;
            changes.push((old, new));
        }

        for row in &mut batch.create {
            row.created_at = now;
            row.updated_at = now;
            tx.emit(events::node(event_type::NODE_CREATED, row));
        }
        let versions = batch.create.iter().map(|row| use_cases::version_of(row, "created", None, Some(user))).collect();
        nodes::insert(tx.conn(), batch.create.clone()).await?;
        nodes::insert_versions(tx.conn(), versions).await?;

        let mut updated = Vec::with_capacity(changes.len());
        for (old, mut new) in changes {
            if new != old {
                use_cases::store_change(&mut tx, &old, &mut new, Change::ByUser(Some(user)), now).await?;
            }
            updated.push(new.into());
        }
        let doomed = batch.delete.iter().filter_map(|id| found.remove(id)).collect();
        use_cases::delete(&mut tx, doomed, now).await?;
        tx.commit().await?;
        Ok(BatchOutcome { created: batch.create.into_iter().map(Node::from).collect(), updated, deleted: batch.delete })
    }
}

/// Reads the whole body and names every fault in it. What is to be changed is read onto the rows later, but checked here.
fn read(body: Value, project: Uuid, user: Uuid) -> Result<Batch> {
    let mut fields = Fields::new(body)?;
    let create = objects(&mut fields, "create");
    let update = objects(&mut fields, "update");
    let delete = ids(&mut fields, "delete");
    if create.len() + update.len() + delete.len() > MOST {
        fields.fault("create", "too_many", format!("a batch may have at most {MOST} nodes in all"));
    }
    let mut batch =
        Batch { create: Vec::with_capacity(create.len()), update: Vec::with_capacity(update.len()), delete };
    for (index, object) in create {
        let mut inner = fields.nested(&format!("create[{index}]"), object);
        projects::named(&mut inner, Some(project));
        let mut row = use_cases::blank(project, user);
        use_cases::patch(&mut row, &mut inner);
        fields.absorb(inner);
        batch.create.push(row);
    }
    let mut seen: HashSet<Uuid> = HashSet::new();
    for (index, mut object) in update {
        let path = format!("update[{index}]");
        let what = (object.remove("id"), object.remove("if_match"));
        let mut inner = fields.nested(&path, object.clone());
        // Onto a row that is thrown away: only the faults are of interest.
        use_cases::patch(&mut use_cases::blank(project, user), &mut inner);
        let id = match what.0 {
            Some(Value::String(id)) => parse_id(&id),
            _ => None,
        };
        if id.is_none() {
            inner.fault("id", "invalid", "must be a UUID");
        }
        if id.is_some_and(|id| !seen.insert(id)) {
            inner.fault("id", "repeated", "stands in this batch twice");
        }
        let expected = expected(&mut inner, what.1);
        fields.absorb(inner);
        if let Some(id) = id {
            batch.update.push(Update { id, expected, fields: Fields::new(Value::Object(object))? });
        }
    }
    for (index, id) in batch.delete.iter().enumerate() {
        if !seen.insert(*id) {
            fields.fault(&format!("delete[{index}]"), "repeated", "stands in this batch twice");
        }
    }
    fields.finish()?;
    Ok(batch)
}

/// `if_match` of an update: the version, as an ETag with or without its quotes, or as a number.
fn expected(fields: &mut Fields, value: Option<Value>) -> Expected {
    let version = match &value {
        None | Some(Value::Null) => return Expected::Any,
        Some(Value::String(text)) if text == "*" => return Expected::Any,
        Some(Value::String(text)) => text.trim_matches('"').parse().ok(),
        Some(value) => value.as_i64(),
    };
    if version.is_none() {
        fields.fault("if_match", "invalid", "must be the node's ETag or version");
    }
    Expected::OneOf(version.into_iter().collect())
}

fn items(fields: &mut Fields, field: &str) -> Vec<Value> {
    match fields.value(field) {
        Patch::Value(Value::Array(items)) => items,
        Patch::Value(_) => {
            fields.fault(field, "invalid_type", "must be a list");
            Vec::new()
        }
        Patch::Absent | Patch::Null => Vec::new(),
    }
}

fn objects(fields: &mut Fields, field: &str) -> Vec<(usize, serde_json::Map<String, Value>)> {
    let mut objects = Vec::new();
    for (index, item) in items(fields, field).into_iter().enumerate() {
        match item {
            Value::Object(object) => objects.push((index, object)),
            _ => fields.fault(&format!("{field}[{index}]"), "invalid_type", "must be an object"),
        }
    }
    objects
}

fn ids(fields: &mut Fields, field: &str) -> Vec<Uuid> {
    let mut ids = Vec::new();
    for (index, item) in items(fields, field).into_iter().enumerate() {
        match item.as_str().and_then(parse_id) {
            Some(id) => ids.push(id),
            None => fields.fault(&format!("{field}[{index}]"), "invalid", "must be a UUID"),
        }
    }
    ids
}

/// Puts the path of the item before the names of its faults.
fn at(error: Error, index: usize) -> Error {
    let named = error.fields().iter().cloned().map(|mut fault| {
        fault.field = format!("update[{index}].{}", fault.field);
        fault
    });
    Error::validation(named.collect())
}
