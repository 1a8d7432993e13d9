//! Nodes and their versions.

use chrono::{DateTime, Utc};
use futures::{StreamExt as _, stream};
use serde::Serialize;
use serde_json::{Value, json};
use sker_api::Ctx;
use sker_error::{Fields, Patch, Result};
use sker_runtime::QueryFields;
use sker_types::{Page, Time, Uuid, event_type, new_id, now};
use utoipa::ToSchema;

use super::{App, Expected, access, acting_user, body, events, paging::Paging, projects};
use crate::store::{
    Place, Tx, connections,
    nodes::{self, Node as Row, NodeVersion as VersionRow},
    projects::Within,
};

/// The most text that a node holds, in bytes.
pub(super) const CONTENT_BYTES: usize = 4 * 1024 * 1024;
pub(super) const TITLE_LENGTH: usize = 500;
/// What a client may set; `deleted` is what a deleted node has.
const STATUSES: [&str; 4] = ["idle", "processing", "completed", "error"];
/// Nodes that are read at a time when many are streamed: their contents may be large.
const STREAMED_AT_A_TIME: usize = 4;

/// A node of a canvas.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Node {
    pub(crate) id: Uuid,
    pub(crate) project_id: Uuid,
    pub(crate) created_by: Uuid,
    pub(crate) title: String,
    pub(crate) content: String,
    /// 1 to 5.
    pub(crate) importance: i32,
    /// 0 to 100.
    pub(crate) confidence: f64,
    /// `idle`, `processing`, `completed` or `error`.
    pub(crate) status: String,
    #[schema(value_type = Vec<String>)]
    pub(crate) tags: Value,
    pub(crate) position: Position,
    /// Open: `semantic_types`, ...
    #[schema(value_type = Object)]
    pub(crate) metadata: Value,
    pub(crate) ai_generated: bool,
    pub(crate) version: i64,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

/// Where a node stands on its canvas.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) struct Position {
    pub(crate) x: f64,
    pub(crate) y: f64,
}

impl From<Row> for Node {
    fn from(row: Row) -> Self {
        Node {
            id: row.id,
            project_id: row.project_id,
            created_by: row.created_by,
            title: row.title,
            content: row.content,
            importance: row.importance,
            confidence: row.confidence,
            status: row.status,
            tags: row.tags,
            position: Position { x: row.position_x, y: row.position_y },
            metadata: row.metadata,
            ai_generated: row.ai_generated,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

/// What a node was like after a change of its content.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct NodeVersion {
    pub(crate) node_id: Uuid,
    /// The node's version that this was; numbers in between changed something else.
    pub(crate) version: i64,
    pub(crate) title: String,
    pub(crate) content: String,
    #[schema(value_type = Vec<String>)]
    pub(crate) tags: Value,
    #[schema(value_type = Object)]
    pub(crate) metadata: Value,
    /// `created`, `updated` or `ai_task`.
    pub(crate) reason: String,
    /// The task whose result it is.
    pub(crate) task_id: Option<Uuid>,
    /// The user who made it.
    pub(crate) changed_by: Option<Uuid>,
    pub(crate) created_at: DateTime<Utc>,
}

impl From<VersionRow> for NodeVersion {
    fn from(row: VersionRow) -> Self {
        NodeVersion {
            node_id: row.node_id,
            version: row.version,
            title: row.title,
            content: row.content,
            tags: row.tags,
            metadata: row.metadata,
            reason: row.reason,
            task_id: row.task_id,
            changed_by: row.changed_by,
            created_at: row.created_at,
        }
    }
}

impl App {
    /// Makes a node. `project` is the one in the path; without it the body names one.
    pub(crate) async fn create_node(&self, ctx: &Ctx, project: Option<Uuid>, body: Value) -> Result<Node> {
        let user = acting_user(ctx)?;
        let mut fields = Fields::new(body)?;
        let project = projects::named(&mut fields, project);
        let mut row = blank(project.unwrap_or_default(), user);
        patch(&mut row, &mut fields);
        fields.finish()?;
        let mut tx = self.store.begin().await?;
        access::project_to_fill(tx.conn(), ctx, row.project_id).await?;
        row.created_at = now();
        row.updated_at = row.created_at;
        nodes::insert(tx.conn(), vec![row.clone()]).await?;
        nodes::insert_versions(tx.conn(), vec![version_of(&row, "created", None, Some(user))]).await?;
        tx.emit(events::node(event_type::NODE_CREATED, &row));
        tx.commit().await?;
        Ok(row.into())
    }

    /// Nodes of one project, or of all that the caller sees.
    pub(crate) async fn list_nodes(
        &self,
        ctx: &Ctx,
        project: Option<Uuid>,
        mut query: QueryFields,
    ) -> Result<Page<Node>> {
        let paging = Paging::read(&mut query, false);
        let within = self.within(ctx, project, &mut query).await?;
        let filter = nodes::Filter {
            within,
            status: query.one_of("status", &STATUSES),
            importance: query.integer("importance", 1..=5),
            ai_generated: query.boolean("ai_generated"),
            tags: query.list("tags"),
            text: query.bounded("q", 200),
        };
        query.finish()?;
        let list = format!("nodes {filter:?}");
        let slice = self.cursors.slice(&paging, &list)?;
        let found = nodes::list(self.store.reader(), &filter, slice).await?;
        let place = |row: &Row| Place { time: row.created_at, id: row.id };
        Ok(self.cursors.page(&paging, &list, found, place, Node::from))
    }

    /// Where a list looks: in the path's project, the one that `?project_id=` names, or everywhere the caller sees.
    pub(super) async fn within(&self, ctx: &Ctx, path: Option<Uuid>, query: &mut QueryFields) -> Result<Within> {
        let project = match path {
            Some(id) => Some(id),
            None => query.id("project_id"),
        };
        match project {
            Some(id) => access::project(self.store.reader(), ctx, id).await.map(|row| Within::Project(row.id)),
            None => access::scope(ctx).map(Within::Scope),
        }
    }

    /// One node.
    pub(crate) async fn get_node(&self, ctx: &Ctx, id: Uuid) -> Result<Node> {
        access::node(self.store.reader(), ctx, id).await.map(Node::from)
    }

    /// Nodes of a project by id, in the order asked for, a few at a time; those that are not there are left out.
    pub(crate) async fn stream_nodes(
        &self,
        ctx: &Ctx,
        project: Uuid,
        ids: Vec<Uuid>,
    ) -> Result<stream::BoxStream<'static, Result<Node>>> {
        access::project(self.store.reader(), ctx, project).await?;
        let store = self.store.clone();
        let chunks: Vec<Vec<Uuid>> = ids.chunks(STREAMED_AT_A_TIME).map(<[Uuid]>::to_vec).collect();
        let chunks = stream::iter(chunks).then(move |ids| {
            let store = store.clone();
            async move {
                let found = nodes::find_many(store.reader(), project, &ids).await;
                let nodes: Vec<Result<Node>> = match found {
                    Err(error) => vec![Err(error)],
                    Ok(mut found) => {
                        let place = |row: &Row| ids.iter().position(|id| *id == row.id);
                        found.sort_by_key(place);
                        found.into_iter().map(|row| Ok(Node::from(row))).collect()
                    }
                };
                stream::iter(nodes)
            }
        });
        Ok(chunks.flatten().boxed())
    }

    /// Changes a node. A change of its content makes a version.
    pub(crate) async fn update_node(&self, ctx: &Ctx, id: Uuid, body: Value, expected: &Expected) -> Result<Node> {
        let mut fields = Fields::new(body)?;
        let mut tx = self.store.begin().await?;
        let old = access::node_to_change(tx.conn(), ctx, id).await?;
        expected.check(old.version)?;
        let mut new = old.clone();
        patch(&mut new, &mut fields);
        fields.finish()?;
        if new == old {
            return Ok(old.into());
        }
        store_change(&mut tx, &old, &mut new, Change::ByUser(ctx.principal.user_id()), now()).await?;
        tx.commit().await?;
        Ok(new.into())
    }

    /// Deletes a node and its connections so that they could be restored.
    pub(crate) async fn delete_node(&self, ctx: &Ctx, id: Uuid, expected: &Expected) -> Result<()> {
        let mut tx = self.store.begin().await?;
        let node = access::node_to_change(tx.conn(), ctx, id).await?;
        expected.check(node.version)?;
        delete(&mut tx, vec![node], now()).await?;
        tx.commit().await
    }

    /// The versions of a node, newest first.
    pub(crate) async fn list_versions(&self, ctx: &Ctx, id: Uuid, mut query: QueryFields) -> Result<Page<NodeVersion>> {
        let paging = Paging::read(&mut query, true);
        query.finish()?;
        let list = format!("versions {id}");
        let slice = self.cursors.slice(&paging, &list)?;
        access::node(self.store.reader(), ctx, id).await?;
        let found = nodes::versions(self.store.reader(), id, slice).await?;
        let place = |row: &VersionRow| Place { time: row.created_at, id: row.id };
        Ok(self.cursors.page(&paging, &list, found, place, NodeVersion::from))
    }
}

/// A node without anything in it.
pub(super) fn blank(project_id: Uuid, created_by: Uuid) -> Row {
    Row {
        id: new_id(),
        project_id,
        created_by,
        title: String::new(),
        importance: 3,
        confidence: 0.0,
        status: "idle".to_owned(),
        tags: json!([]),
        position_x: 0.0,
        position_y: 0.0,
        metadata: json!({}),
        ai_generated: false,
        version: 1,
        created_at: Time::default(),
        updated_at: Time::default(),
        deleted_at: None,
        content: String::new(),
    }
}

/// Reads the fields of a POST or PATCH onto a row.
pub(super) fn patch(row: &mut Row, fields: &mut Fields) {
    match fields.string("title", 0..=TITLE_LENGTH) {
        Patch::Absent => {}
        patch => row.title = patch.value().unwrap_or_default(),
    }
    match fields.string("content", 0..=CONTENT_BYTES) {
        Patch::Absent => {}
        patch => row.content = patch.value().unwrap_or_default(),
    }
    if row.content.len() > CONTENT_BYTES {
        fields.fault("content", "too_long", format!("must have at most {CONTENT_BYTES} bytes"));
    }
    let importance = fields.integer("importance", 1..=5);
    if let Some(importance) = body::keep(fields, "importance", importance) {
        row.importance = i32::try_from(importance).unwrap_or(row.importance);
    }
    let confidence = fields.number("confidence", 0.0..=100.0);
    if let Some(confidence) = body::keep(fields, "confidence", confidence) {
        row.confidence = confidence;
    }
    let status = fields.one_of("status", &STATUSES);
    if let Some(status) = body::keep(fields, "status", status) {
        row.status = status;
    }
    if let Some(tags) = body::tags(fields, "tags") {
        row.tags = Value::from(tags);
    }
    patch_position(row, fields);
    if let Some(metadata) = body::open_object(fields, "metadata", Some(&row.metadata)) {
        row.metadata = metadata;
    }
    let ai_generated = fields.boolean("ai_generated");
    if let Some(ai_generated) = body::keep(fields, "ai_generated", ai_generated) {
        row.ai_generated = ai_generated;
    }
}

fn patch_position(row: &mut Row, fields: &mut Fields) {
    const FARTHEST: f64 = 1e9;
    let position = match fields.object("position") {
        Patch::Absent => return,
        Patch::Null => {
            (row.position_x, row.position_y) = (0.0, 0.0);
            return;
        }
        Patch::Value(position) => position,
    };
    let mut inner = fields.nested("position", position);
    for (name, coordinate) in [("x", &mut row.position_x), ("y", &mut row.position_y)] {
        let value = inner.number(name, -FARTHEST..=FARTHEST);
        if let Some(value) = body::keep(&mut inner, name, value) {
            *coordinate = value;
        }
    }
    fields.absorb(inner);
}

/// Who changes a node.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    /// A user, or a service in nobody's name.
    ByUser(Option<Uuid>),
    /// The result of a task of that user.
    ByTask {
        /// The task.
        task: Uuid,
        /// Whose it is.
        user: Uuid,
    },
}

/// Stores a change of a node that was read for update: its next version, the record of it when its content has changed,
/// and the event.
pub(super) async fn store_change(tx: &mut Tx, old: &Row, new: &mut Row, change: Change, now: Time) -> Result<()> {
    new.version = old.version + 1;
    new.updated_at = now;
    nodes::update(tx.conn(), old, new).await?;
    if (&new.title, &new.content, &new.tags, &new.metadata) != (&old.title, &old.content, &old.tags, &old.metadata) {
        let version = match change {
            Change::ByUser(user) => version_of(new, "updated", None, user),
            Change::ByTask { task, user } => version_of(new, "ai_task", Some(task), Some(user)),
        };
        nodes::insert_versions(tx.conn(), vec![version]).await?;
    }
    tx.emit(events::node(event_type::NODE_UPDATED, new));
    Ok(())
}

/// The record of a node as it is now.
pub(super) fn version_of(row: &Row, reason: &str, task_id: Option<Uuid>, changed_by: Option<Uuid>) -> VersionRow {
    VersionRow {
        id: new_id(),
        node_id: row.id,
        version: row.version,
        title: row.title.clone(),
        tags: row.tags.clone(),
        metadata: row.metadata.clone(),
        reason: reason.to_owned(),
        task_id,
        changed_by,
        created_at: row.updated_at,
        content: row.content.clone(),
    }
}

/// Deletes nodes that were read for update, and every connection that begins or ends there.
pub(super) async fn delete(tx: &mut Tx, rows: Vec<Row>, now: Time) -> Result<()> {
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    let edges = connections::touching_for_update(tx.conn(), &ids).await?;
    let edge_ids: Vec<Uuid> = edges.iter().map(|edge| edge.id).collect();
    connections::delete(tx.conn(), &edge_ids, now).await?;
    nodes::delete(tx.conn(), &ids, now).await?;
    for mut edge in edges {
        edge.version += 1;
        edge.updated_at = now;
        tx.emit(events::connection(event_type::CONNECTION_DELETED, &edge));
    }
    for mut row in rows {
        row.version += 1;
        row.updated_at = now;
        row.status = "deleted".to_owned();
        tx.emit(events::node(event_type::NODE_DELETED, &row));
    }
    Ok(())
}
