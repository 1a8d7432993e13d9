//! AI tasks, as users deal with them.

use serde_json::Value;
use sker_api::Ctx;
use sker_error::{Code, Error, FieldError, Fields, Result};
use sker_runtime::QueryFields;
use sker_types::{Page, Time, Uuid, event_type, now};

use super::{
    App, Expected, Settings, Task, access, acting_user, events,
    paging::Paging,
    task_input::{self, NewTask},
    task_view::as_created,
    transitions,
};
use crate::store::{
    Conn, Place, Tx,
    keys::{self, IdempotencyKey},
    nodes,
    tasks::{self, Task as Row, status},
};

const KEY_LENGTH: std::ops::RangeInclusive<usize> = 1..=255;

impl App {
    /// Makes a task. With the same `key` a user's repeated request makes no second one and has the same answer.
    pub(crate) async fn create_task(
        &self,
        ctx: &Ctx,
        project: Option<Uuid>,
        body: Value,
        key: Option<&str>,
    ) -> Result<Task> {
        let user = acting_user(ctx)?;
        let hash = key.map(|key| check_key(key).map(|()| task_input::request_hash(project, &body))).transpose()?;
        let NewTask { mut row, input, node_ids } = NewTask::read(body, project, user, &self.settings)?;
        let mut tx = self.store.begin().await?;
        access::project_to_fill(tx.conn(), ctx, row.project_id).await?;
        let now = now();
        if let (Some(key), Some(request_hash)) = (key, hash) {
            let key =
                IdempotencyKey { user_id: user, key: key.to_owned(), request_hash, task_id: row.id, created_at: now };
            let wanted = key.request_hash.clone();
            if let Some(taken) = keys::take(tx.conn(), key).await? {
                return repeat(tx.conn(), taken, &wanted, row).await;
            }
        }
        require_nodes(tx.conn(), &row, &node_ids).await?;
        row.created_at = now;
        row.updated_at = now;
        let waits = wait_for(&mut row, now, &self.settings);
        tasks::insert(tx.conn(), row.clone(), input.clone()).await?;
        tx.emit(events::task(event_type::TASK_CREATED, &row, None));
        if !waits {
            tx.emit(events::wake(&row)?);
        }
        tx.commit().await?;
        let payload = tasks::Payload { task_id: row.id, input_data: input, output_data: None };
        Ok(Task::new(row, Some(payload)))
    }

    /// Tasks of one project, or of all that the caller sees.
    pub(crate) async fn list_tasks(
        &self,
        ctx: &Ctx,
        project: Option<Uuid>,
        mut query: QueryFields,
    ) -> Result<Page<Task>> {
        let paging = Paging::read(&mut query, false);
        let within = self.within(ctx, project, &mut query).await?;
        let filter = tasks::Filter {
            within,
            node: query.id("node_id"),
            kind: query.one_of("type", &task_input::KINDS),
            status: query.list("status"),
            priority: query.one_of("priority", &task_input::PRIORITIES),
        };
        if filter.status.iter().any(|word| !status::ALL.contains(&word.as_str())) {
            query.fault("status", "invalid", format!("must be of {}", status::ALL.join(", ")));
        }
        query.finish()?;
        let list = format!("tasks {filter:?}");
        let slice = self.cursors.slice(&paging, &list)?;
        let found = tasks::list(self.store.reader(), &filter, slice).await?;
        let ids: Vec<Uuid> = found.iter().map(|row| row.id).collect();
        let mut payloads = tasks::payloads(self.store.reader(), &ids).await?;
        let place = |row: &Row| Place { time: row.created_at, id: row.id };
        Ok(self.cursors.page(&paging, &list, found, place, |row| {
            let payload = payloads.remove(&row.id);
            Task::new(row, payload)
        }))
    }

    /// One task.
    pub(crate) async fn get_task(&self, ctx: &Ctx, id: Uuid) -> Result<Task> {
        let tx = self.store.begin_read().await?;
        let row = access::task(tx.conn(), ctx, id).await?;
        view(tx.conn(), row).await
    }

    /// Changes how a task that nobody has begun is to be run.
    pub(crate) async fn update_task(&self, ctx: &Ctx, id: Uuid, body: Value, expected: &Expected) -> Result<Task> {
        let mut fields = Fields::new(body)?;
        let tx = self.store.begin().await?;
        let old = access::task_to_change(tx.conn(), ctx, id).await?;
        expected.check(old.version)?;
        let mut new = old.clone();
        task_input::read_options(&mut new, &mut fields);
        fields.finish()?;
        if new == old {
            return view(tx.conn(), old).await;
        }
        if ![status::PENDING, status::QUEUED].contains(&old.status.as_str()) {
            return Err(Error::conflict(format!(
                "the task is {}; it can be changed only before it begins",
                old.status
            )));
        }
        self.put_back(tx, &old, new, now()).await
    }

    /// Cancels a task. One that is cancelled already stays so; one that is finished cannot be.
    pub(crate) async fn cancel_task(&self, ctx: &Ctx, id: Uuid) -> Result<Task> {
        let mut tx = self.store.begin().await?;
        let row = access::task_to_change(tx.conn(), ctx, id).await?;
        let row = match row.status.as_str() {
            status::CANCELLED => row,
            status::COMPLETED | status::FAILED => {
                return Err(Error::conflict(format!("the task is {} and cannot be cancelled", row.status)));
            }
            _ => transitions::cancel(&mut tx, row, now()).await?,
        };
        let task = view(tx.conn(), row).await?;
        tx.commit().await?;
        Ok(task)
    }

    /// Runs a task again that has failed or was cancelled, with all its attempts.
    pub(crate) async fn retry_task(&self, ctx: &Ctx, id: Uuid) -> Result<Task> {
        let tx = self.store.begin().await?;
        let old = access::task_to_change(tx.conn(), ctx, id).await?;
        if ![status::FAILED, status::CANCELLED].contains(&old.status.as_str()) {
            return Err(Error::conflict(format!(
                "the task is {}; only failed and cancelled tasks can be retried",
                old.status
            )));
        }
        let new = Row {
            attempts: 0,
            lost_leases: 0,
            progress: 0,
            progress_message: String::new(),
            error_code: None,
            error_message: None,
            scheduled_at: None,
            started_at: None,
            completed_at: None,
            ..old.clone()
        };
        self.put_back(tx, &old, new, now()).await
    }

    /// Deletes a finished task.
    pub(crate) async fn delete_task(&self, ctx: &Ctx, id: Uuid, expected: &Expected) -> Result<()> {
        let tx = self.store.begin().await?;
        let row = access::task_to_change(tx.conn(), ctx, id).await?;
        expected.check(row.version)?;
        if ![status::COMPLETED, status::FAILED, status::CANCELLED].contains(&row.status.as_str()) {
            return Err(Error::conflict(format!("the task is {}; cancel it first", row.status)));
        }
        tasks::delete(tx.conn(), id).await?;
        tx.commit().await
    }

    /// Makes a task pending again, to be relayed anew, and commits.
    async fn put_back(&self, mut tx: Tx, old: &Row, mut new: Row, now: Time) -> Result<Task> {
        new.status = status::PENDING.to_owned();
        new.queued_at = None;
        new.lease_session = None;
        new.wakes = 0;
        new.version += 1;
        new.updated_at = now;
        let waits = wait_for(&mut new, now, &self.settings);
        tasks::update(tx.conn(), old, &new).await?;
        if !waits {
            tx.emit(events::wake(&new)?);
        }
        let task = view(tx.conn(), new).await?;
        tx.commit().await?;
        Ok(task)
    }
}

/// Says when a new task may begin and when its wake-up is to be sent, or sent again. True when it has to wait.
fn wait_for(row: &mut Row, now: Time, settings: &Settings) -> bool {
    row.due_at = row.scheduled_at.filter(|at| *at > now);
    row.wake_at = Some(row.due_at.unwrap_or(now + settings.wake_again));
    row.due_at.is_some()
}

fn check_key(key: &str) -> Result<()> {
    if KEY_LENGTH.contains(&key.len()) && key.bytes().all(|byte| (b'!'..=b'~').contains(&byte)) {
        return Ok(());
    }
    Err(Error::invalid_request("the idempotency key must have 1 to 255 printable ASCII characters and no spaces"))
}

/// The answer to a request that was made before; `asked` is what it asked for.
async fn repeat(conn: &impl Conn, taken: IdempotencyKey, wanted: &str, asked: Row) -> Result<Task> {
    if taken.request_hash != wanted {
        return Err(Error::new(Code::IdempotencyMismatch, "the idempotency key was used before with another body"));
    }
    let row = tasks::find(conn, taken.task_id).await?;
    let row = row.ok_or_else(|| Error::new(Code::Gone, "the task that was made with this key has been deleted"))?;
    let payload = tasks::payloads(conn, &[row.id]).await?.remove(&row.id);
    let payload = payload.map(|payload| tasks::Payload { output_data: None, ..payload });
    Ok(Task::new(as_created(row, asked), payload))
}

async fn view(conn: &impl Conn, row: Row) -> Result<Task> {
    let payload = tasks::payloads(conn, &[row.id]).await?.remove(&row.id);
    Ok(Task::new(row, payload))
}

/// Every node that a task names must be in its project.
async fn require_nodes(conn: &impl Conn, row: &Row, node_ids: &[Uuid]) -> Result<()> {
    let mut wanted = node_ids.to_vec();
    wanted.extend(row.node_id);
    wanted.sort_unstable();
    wanted.dedup();
    let mut found = nodes::existing(conn, row.project_id, &wanted).await?;
    if found.len() == wanted.len() {
        return Ok(());
    }
    found.sort_unstable();
    let missing = |id: &Uuid| found.binary_search(id).is_err();
    let fault = |field: String| FieldError::new(field, "not_found", "must be a node of the project");
    let node = row.node_id.filter(missing).map(|_| fault("node_id".to_owned()));
    let listed = node_ids.iter().enumerate().filter(|(_, id)| missing(id));
    let listed = listed.map(|(index, _)| fault(format!("input_data.node_ids[{index}]")));
    Err(Error::validation(node.into_iter().chain(listed).collect()))
}
