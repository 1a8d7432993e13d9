//! Connections between nodes of one project.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use sker_api::Ctx;
use sker_error::{Error, FieldError, Fields, Patch, Result};
use sker_runtime::QueryFields;
use sker_types::{Page, Time, Uuid, event_type, new_id, now, parse_id};
use utoipa::ToSchema;

use super::{
    App, Expected, access, acting_user, body,
    events::{self, non_empty},
    paging::Paging,
};
use crate::store::{
    Conn, Place,
    connections::{self, Connection as Row},
    nodes,
};

pub(super) const KINDS: [&str; 4] = ["input", "output", "bidirectional", "reference"];

/// An edge of a canvas.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Connection {
    pub(crate) id: Uuid,
    pub(crate) project_id: Uuid,
    pub(crate) created_by: Uuid,
    pub(crate) source_node_id: Uuid,
    pub(crate) target_node_id: Uuid,
    pub(crate) source_handle: Option<String>,
    pub(crate) target_handle: Option<String>,
    /// `input`, `output`, `bidirectional` or `reference`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// 0 to 1.
    pub(crate) weight: f64,
    /// Open.
    #[schema(value_type = Object)]
    pub(crate) metadata: Value,
    pub(crate) version: i64,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

impl From<Row> for Connection {
    fn from(row: Row) -> Self {
        Connection {
            id: row.id,
            project_id: row.project_id,
            created_by: row.created_by,
            source_node_id: row.source_node_id,
            target_node_id: row.target_node_id,
            source_handle: non_empty(&row.source_handle).map(str::to_owned),
            target_handle: non_empty(&row.target_handle).map(str::to_owned),
            kind: row.kind,
            weight: row.weight,
            metadata: row.metadata,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

impl App {
    /// Connects two nodes. Without a project in the path it is that of the source.
    pub(crate) async fn create_connection(&self, ctx: &Ctx, project: Option<Uuid>, body: Value) -> Result<Connection> {
        let user = acting_user(ctx)?;
        let mut fields = Fields::new(body)?;
        let named = body::id(&mut fields, "project_id");
        let named = body::keep(&mut fields, "project_id", named);
        if project.is_some() && named.is_some() && project != named {
            fields.fault("project_id", "invalid", "must be the project in the path");
        }
        let mut row = Row {
            id: new_id(),
            project_id: Uuid::nil(),
            created_by: user,
            source_node_id: Uuid::nil(),
            target_node_id: Uuid::nil(),
            source_handle: String::new(),
            target_handle: String::new(),
            kind: "output".to_owned(),
            weight: 1.0,
            metadata: json!({}),
            version: 1,
            created_at: Time::default(),
            updated_at: Time::default(),
            deleted_at: None,
        };
        patch(&mut row, &mut fields, true);
        fields.finish()?;
        let mut tx = self.store.begin().await?;
        row.project_id = match project.or(named) {
            Some(id) => id,
            None => access::node(tx.conn(), ctx, row.source_node_id).await?.project_id,
        };
        access::project_to_fill(tx.conn(), ctx, row.project_id).await?;
        require_ends(tx.conn(), &row).await?;
        row.created_at = now();
        row.updated_at = row.created_at;
        connections::insert(tx.conn(), row.clone()).await?;
        tx.emit(events::connection(event_type::CONNECTION_CREATED, &row));
        tx.commit().await?;
        Ok(row.into())
    }

    /// Connections of one project, or of all that the caller sees.
    pub(crate) async fn list_connections(
        &self,
        ctx: &Ctx,
        project: Option<Uuid>,
        mut query: QueryFields,
    ) -> Result<Page<Connection>> {
        let paging = Paging::read(&mut query, false);
        let within = self.within(ctx, project, &mut query).await?;
        let filter = connections::Filter {
            within,
            source: query.id("source_node_id"),
            target: query.id("target_node_id"),
            node: query.id("node_id"),
            kind: query.one_of("type", &KINDS),
        };
        query.finish()?;
        let list = format!("connections {filter:?}");
        let slice = self.cursors.slice(&paging, &list)?;
        let found = connections::list(self.store.reader(), &filter, slice).await?;
        let place = |row: &Row| Place { time: row.created_at, id: row.id };
        Ok(self.cursors.page(&paging, &list, found, place, Connection::from))
    }

    /// One connection.
    pub(crate) async fn get_connection(&self, ctx: &Ctx, id: Uuid) -> Result<Connection> {
        access::connection(self.store.reader(), ctx, id).await.map(Connection::from)
    }

    /// Changes a connection, its ends included.
    pub(crate) async fn update_connection(
        &self,
        ctx: &Ctx,
        id: Uuid,
        body: Value,
        expected: &Expected,
    ) -> Result<Connection> {
        let ends = ["source_node_id", "target_node_id"].map(|name| body[name].as_str().and_then(parse_id));
        let mut fields = Fields::new(body)?;
        let mut tx = self.store.begin().await?;
        if ends.iter().any(Option::is_some) {
            // Whoever deletes a node locks it after its project and before its connections.
            let found = access::connection_to_lock(tx.conn(), ctx, id).await?;
            let mut nodes = vec![found.source_node_id, found.target_node_id];
            nodes.extend(ends.into_iter().flatten());
            nodes::hold(tx.conn(), found.project_id, &nodes).await?;
        }
        let old = access::connection_to_change(tx.conn(), ctx, id).await?;
        expected.check(old.version)?;
        let mut new = old.clone();
        patch(&mut new, &mut fields, false);
        fields.finish()?;
        if new == old {
            return Ok(old.into());
        }
        if (new.source_node_id, new.target_node_id) != (old.source_node_id, old.target_node_id) {
            require_ends(tx.conn(), &new).await?;
        }
        new.version += 1;
        new.updated_at = now();
        connections::update(tx.conn(), &old, &new).await?;
        tx.emit(events::connection(event_type::CONNECTION_UPDATED, &new));
        tx.commit().await?;
        Ok(new.into())
    }

    /// Deletes a connection so that it could be restored.
    pub(crate) async fn delete_connection(&self, ctx: &Ctx, id: Uuid, expected: &Expected) -> Result<()> {
        let mut tx = self.store.begin().await?;
        let mut row = access::connection_to_change(tx.conn(), ctx, id).await?;
        expected.check(row.version)?;
        row.updated_at = now();
        connections::delete(tx.conn(), &[id], row.updated_at).await?;
        row.version += 1;
        tx.emit(events::connection(event_type::CONNECTION_DELETED, &row));
        tx.commit().await
    }
}

/// Reads the fields of a POST or PATCH onto a row.
fn patch(row: &mut Row, fields: &mut Fields, new: bool) {
    for (name, end) in [("source_node_id", &mut row.source_node_id), ("target_node_id", &mut row.target_node_id)] {
        let id = body::id(fields, name);
        let id = if new { fields.require(name, id) } else { body::keep(fields, name, id) };
        if let Some(id) = id {
            *end = id;
        }
    }
    if row.source_node_id == row.target_node_id && !row.source_node_id.is_nil() {
        fields.fault("target_node_id", "self_edge", "must be another node than the source");
    }
    for (name, handle) in [("source_handle", &mut row.source_handle), ("target_handle", &mut row.target_handle)] {
        match fields.string(name, 1..=200) {
            Patch::Absent => {}
            patch => *handle = patch.value().unwrap_or_default(),
        }
    }
    let kind = fields.one_of("type", &KINDS);
    if let Some(kind) = body::keep(fields, "type", kind) {
        row.kind = kind;
    }
    let weight = fields.number("weight", 0.0..=1.0);
    if let Some(weight) = body::keep(fields, "weight", weight) {
        row.weight = weight;
    }
    if let Some(metadata) = body::open_object(fields, "metadata", Some(&row.metadata)) {
        row.metadata = metadata;
    }
}

/// Both ends must be nodes of the connection's project. They cannot be deleted until the transaction ends.
async fn require_ends(conn: &impl Conn, row: &Row) -> Result<()> {
    let ends = [row.source_node_id, row.target_node_id];
    let found = nodes::hold(conn, row.project_id, &ends).await?;
    let faults: Vec<FieldError> = [("source_node_id", row.source_node_id), ("target_node_id", row.target_node_id)]
        .into_iter()
        .filter(|(_, id)| !found.contains(id))
        .map(|(name, _)| FieldError::new(name, "not_found", "must be a node of the same project"))
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(Error::validation(faults)) }
}
