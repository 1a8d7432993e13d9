//! Projects.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use sker_api::Ctx;
use sker_auth::policy::Access;
use sker_error::{Fields, Patch, Result};
use sker_runtime::QueryFields;
use sker_types::{Page, Time, Uuid, event_type, new_id, now};
use utoipa::ToSchema;

use super::{App, Expected, access, acting_user, body, events, paging::Paging, transitions};
use crate::store::{
    Place,
    projects::{self, Project as Row},
    tasks,
};

pub(super) const STATUSES: [&str; 4] = ["active", "paused", "completed", "archived"];

/// A project: a canvas with its nodes, connections and tasks.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Project {
    pub(crate) id: Uuid,
    pub(crate) owner_id: Uuid,
    pub(crate) name: String,
    pub(crate) description: String,
    /// `active`, `paused`, `completed` or `archived`.
    pub(crate) status: String,
    /// Open: `viewport` with `x`, `y` and `zoom`, `config`, ...
    #[schema(value_type = Object)]
    pub(crate) canvas_data: Value,
    /// Open: `collaboration`, `ai_assistance`, `version_control`, ...
    #[schema(value_type = Object)]
    pub(crate) settings: Value,
    pub(crate) is_archived: bool,
    /// When its canvas was last opened, to the minute.
    pub(crate) last_accessed_at: Option<DateTime<Utc>>,
    pub(crate) version: i64,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

impl From<Row> for Project {
    fn from(row: Row) -> Self {
        Project {
            id: row.id,
            owner_id: row.owner_id,
            name: row.name,
            description: row.description,
            status: row.status,
            canvas_data: row.canvas_data,
            settings: row.settings,
            is_archived: row.is_archived,
            last_accessed_at: row.last_accessed_at,
            version: row.version,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

impl App {
    /// Makes a project of the caller's own.
    pub(crate) async fn create_project(&self, ctx: &Ctx, body: Value) -> Result<Project> {
        let owner_id = acting_user(ctx)?;
        let mut row = Row {
            id: new_id(),
            owner_id,
            name: String::new(),
            description: String::new(),
            status: "active".to_owned(),
            canvas_data: json!({"viewport": {"x": 0, "y": 0, "zoom": 1}, "config": {}}),
            settings: json!({}),
            is_archived: false,
            last_accessed_at: None,
            version: 1,
            created_at: Time::default(),
            updated_at: Time::default(),
            deleted_at: None,
        };
        patch(&mut row, body, true)?;
        let mut tx = self.store.begin().await?;
        row.created_at = now();
        row.updated_at = row.created_at;
        projects::insert(tx.conn(), row.clone()).await?;
        tx.emit(events::project(event_type::PROJECT_CREATED, &row));
        tx.commit().await?;
        Ok(row.into())
    }

    /// The caller's projects; everybody's for administrators.
    pub(crate) async fn list_projects(&self, ctx: &Ctx, mut query: QueryFields) -> Result<Page<Project>> {
        let paging = Paging::read(&mut query, false);
        let filter = projects::Filter {
            scope: access::scope(ctx)?,
            status: query.one_of("status", &STATUSES),
            is_archived: query.boolean("is_archived"),
            text: query.bounded("q", 200),
        };
        query.finish()?;
        let list = format!("projects {filter:?}");
        let slice = self.cursors.slice(&paging, &list)?;
        let found = projects::list(self.store.reader(), &filter, slice).await?;
        let place = |row: &Row| Place { time: row.created_at, id: row.id };
        Ok(self.cursors.page(&paging, &list, found, place, Project::from))
    }

    /// One project.
    pub(crate) async fn get_project(&self, ctx: &Ctx, id: Uuid) -> Result<Project> {
        access::project(self.store.reader(), ctx, id).await.map(Project::from)
    }

    /// Changes a project.
    pub(crate) async fn update_project(
        &self,
        ctx: &Ctx,
        id: Uuid,
        body: Value,
        expected: &Expected,
    ) -> Result<Project> {
        let mut tx = self.store.begin().await?;
        let old = access::project_to_change(tx.conn(), ctx, id, Access::Edit).await?;
        expected.check(old.version)?;
        let mut new = old.clone();
        patch(&mut new, body, false)?;
        if new == old {
            return Ok(old.into());
        }
        new.version += 1;
        new.updated_at = now();
        projects::update(tx.conn(), &old, &new).await?;
        tx.emit(events::project(event_type::PROJECT_UPDATED, &new));
        tx.commit().await?;
        Ok(new.into())
    }

    /// Deletes a project so that it could be restored. What of its tasks is not finished is cancelled.
    pub(crate) async fn delete_project(&self, ctx: &Ctx, id: Uuid, expected: &Expected) -> Result<()> {
        let mut tx = self.store.begin().await?;
        let old = access::project_to_change(tx.conn(), ctx, id, Access::Admin).await?;
        expected.check(old.version)?;
        let now = now();
        for task in tasks::unfinished_for_update(tx.conn(), id).await? {
            transitions::cancel(&mut tx, task, now).await?;
        }
        let new = Row { version: old.version + 1, updated_at: now, deleted_at: Some(now), ..old.clone() };
        projects::update(tx.conn(), &old, &new).await?;
        tx.emit(events::project(event_type::PROJECT_DELETED, &new));
        tx.commit().await
    }
}

/// Reads the body of a POST or PATCH onto a row.
fn patch(row: &mut Row, body: Value, new: bool) -> Result<()> {
    let mut fields = Fields::new(body)?;
    let name = fields.string("name", 1..=200);
    let name = if new { fields.require("name", name) } else { body::keep(&mut fields, "name", name) };
    if let Some(name) = name {
        row.name = name;
    }
    match fields.string("description", 0..=10_000) {
        Patch::Absent => {}
        patch => row.description = patch.value().unwrap_or_default(),
    }
    let status = fields.one_of("status", &STATUSES);
    if let Some(status) = body::keep(&mut fields, "status", status) {
        row.status = status;
    }
    if let Some(canvas) = body::open_object(&mut fields, "canvas_data", Some(&row.canvas_data)) {
        row.canvas_data = canvas;
    }
    if let Some(settings) = body::open_object(&mut fields, "settings", Some(&row.settings)) {
        row.settings = settings;
    }
    let is_archived = fields.boolean("is_archived");
    if let Some(is_archived) = body::keep(&mut fields, "is_archived", is_archived) {
        row.is_archived = is_archived;
    }
    fields.finish()
}

/// The project that a body or a path names.
pub(super) fn named(fields: &mut Fields, path: Option<Uuid>) -> Option<Uuid> {
    let field = body::id(fields, "project_id");
    let Some(path) = path else { return fields.require("project_id", field) };
    if body::keep(fields, "project_id", field).is_some_and(|id| id != path) {
        fields.fault("project_id", "invalid", "must be the project in the path");
    }
    Some(path)
}
