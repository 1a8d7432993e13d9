//! AI tasks: a small row that changes often, and its payload.

use std::collections::HashMap;

use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, Order, QueryFilter, QueryOrder, QuerySelect, Select,
    sea_query::{Expr, ExprTrait, LockBehavior, LockType, Query},
};
use serde_json::Value;
use sker_db::db_error;
use sker_error::Result;
use sker_types::{Time, Uuid};

pub(crate) use super::entity::{task::Model as Task, task_payload::Model as Payload};
use super::{
    IDS_PER_QUERY, Slice,
    entity::{
        task::{Column, Entity},
        task_payload,
    },
    insert_all, keyset,
    projects::Within,
    save,
};

/// The words of a task's `status`.
pub(crate) mod status {
    pub(crate) const PENDING: &str = "pending";
    pub(crate) const QUEUED: &str = "queued";
    pub(crate) const PROCESSING: &str = "processing";
    pub(crate) const COMPLETED: &str = "completed";
    pub(crate) const FAILED: &str = "failed";
    pub(crate) const CANCELLED: &str = "cancelled";
    pub(crate) const ALL: [&str; 6] = [PENDING, QUEUED, PROCESSING, COMPLETED, FAILED, CANCELLED];
}

/// Literal, because SQLite uses a partial index only when it can see that the query is within it.
const WAITING: &str = "status IN ('pending', 'queued')";
const PROCESSING: &str = "status = 'processing'";

/// Which tasks to list.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    pub within: Within,
    pub node: Option<Uuid>,
    pub kind: Option<String>,
    /// Any of these.
    pub status: Vec<String>,
    pub priority: Option<String>,
}

/// What the reconciler looks at of a task under a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub id: Uuid,
    pub epoch: i64,
    pub renewals: i64,
    pub lease_ms: i64,
    pub timeout_ms: i64,
    pub started_at: Option<Time>,
}

pub(crate) async fn find(conn: &impl ConnectionTrait, id: Uuid) -> Result<Option<Task>> {
    Entity::find_by_id(id).one(conn).await.map_err(db_error)
}

pub(crate) async fn find_for_update(conn: &impl ConnectionTrait, id: Uuid) -> Result<Option<Task>> {
    Entity::find_by_id(id).lock_exclusive().one(conn).await.map_err(db_error)
}

/// Tasks by id, each once, locked, in the order of their ids.
pub(crate) async fn find_many_for_update(conn: &impl ConnectionTrait, ids: &[Uuid]) -> Result<Vec<Task>> {
    // Also from one query to the next, so that two transactions cannot wait for each other.
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    let mut found = Vec::with_capacity(ids.len());
    for chunk in ids.chunks(IDS_PER_QUERY) {
        let query = Entity::find().filter(Column::Id.is_in(chunk.iter().copied())).order_by_asc(Column::Id);
        found.extend(query.lock_exclusive().all(conn).await.map_err(db_error)?);
    }
    Ok(found)
}

/// Tasks by id, in no particular order.
pub(crate) async fn find_many(conn: &impl ConnectionTrait, ids: &[Uuid]) -> Result<Vec<Task>> {
    let mut found = Vec::with_capacity(ids.len());
    for chunk in ids.chunks(IDS_PER_QUERY) {
        let query = Entity::find().filter(Column::Id.is_in(chunk.iter().copied()));
        found.extend(query.all(conn).await.map_err(db_error)?);
    }
    Ok(found)
}

/// Tasks that may be claimed now, the most urgent and oldest first, locked; those that another transaction holds are left
/// to it.
pub(crate) async fn claimable_for_update(conn: &impl ConnectionTrait, now: Time, limit: u64) -> Result<Vec<Task>> {
    let due = Column::DueAt.is_null().or(Column::DueAt.lte(now));
    let query = Entity::find().filter(Expr::cust(WAITING)).filter(due);
    let query = query.order_by(Column::PriorityRank, Order::Desc).order_by_asc(Column::CreatedAt).limit(limit);
    query.lock_with_behavior(LockType::Update, LockBehavior::SkipLocked).all(conn).await.map_err(db_error)
}

/// Whether any task may be claimed now.
pub(crate) async fn any_claimable(conn: &impl ConnectionTrait, now: Time) -> Result<bool> {
    let due = Column::DueAt.is_null().or(Column::DueAt.lte(now));
    let query = Entity::find().select_only().column(Column::Id).filter(Expr::cust(WAITING)).filter(due).limit(1);
    let found: Option<Uuid> = query.into_tuple().one(conn).await.map_err(db_error)?;
    Ok(found.is_some())
}

/// Every unfinished task of a project, locked.
pub(crate) async fn unfinished_for_update(conn: &impl ConnectionTrait, project: Uuid) -> Result<Vec<Task>> {
    let unfinished = [status::PENDING, status::QUEUED, status::PROCESSING];
    let query = Entity::find().filter(Column::ProjectId.eq(project)).filter(Column::Status.is_in(unfinished));
    query.order_by_asc(Column::Id).lock_exclusive().all(conn).await.map_err(db_error)
}

/// Every task that a broker session holds, locked.
pub(crate) async fn held_by_for_update(conn: &impl ConnectionTrait, session: &str) -> Result<Vec<Task>> {
    let query = Entity::find().filter(Expr::cust(PROCESSING)).filter(Column::LeaseSession.eq(session));
    query.order_by_asc(Column::Id).lock_exclusive().all(conn).await.map_err(db_error)
}

/// What is under a lease.
pub(crate) async fn held(conn: &impl ConnectionTrait) -> Result<Vec<Held>> {
    type Row = (Uuid, i64, i64, i64, i64, Option<Time>);
    let query = Entity::find().select_only().columns([
        Column::Id,
        Column::LeaseEpoch,
        Column::LeaseRenewals,
        Column::LeaseMs,
        Column::TimeoutMs,
        Column::StartedAt,
    ]);
    let rows: Vec<Row> = query.filter(Expr::cust(PROCESSING)).into_tuple().all(conn).await.map_err(db_error)?;
    let held = |(id, epoch, renewals, lease_ms, timeout_ms, started_at)| Held {
        id,
        epoch,
        renewals,
        lease_ms,
        timeout_ms,
        started_at,
    };
    Ok(rows.into_iter().map(held).collect())
}

/// Waiting tasks whose wake-up is due by `now`.
pub(crate) async fn to_wake(conn: &impl ConnectionTrait, now: Time, limit: u64) -> Result<Vec<Uuid>> {
    let query = Entity::find().select_only().column(Column::Id).filter(Expr::cust(WAITING));
    let query = query.filter(Column::WakeAt.lte(now)).order_by_asc(Column::WakeAt).limit(limit);
    query.into_tuple().all(conn).await.map_err(db_error)
}

/// Waiting tasks in the order of their ids, after one of them.
pub(crate) async fn waiting_after(conn: &impl ConnectionTrait, after: Uuid, limit: u64) -> Result<Vec<Uuid>> {
    let query = Entity::find().select_only().column(Column::Id).filter(Expr::cust(WAITING));
    let query = query.filter(Column::Id.gt(after)).order_by_asc(Column::Id).limit(limit);
    query.into_tuple().all(conn).await.map_err(db_error)
}

pub(crate) async fn insert(conn: &impl ConnectionTrait, task: Task, input: Value) -> Result<()> {
    let payload = Payload { task_id: task.id, input_data: input, output_data: None };
    insert_all(conn, vec![task]).await?;
    insert_all(conn, vec![payload]).await
}

pub(crate) async fn update(conn: &impl ConnectionTrait, old: &Task, new: &Task) -> Result<()> {
    save(conn, Column::Id, Column::Version, old, new).await
}

/// Puts tasks that were read for update under a lease, all alike, in one statement.
pub(crate) async fn claim(
    conn: &impl ConnectionTrait,
    ids: &[Uuid],
    session: &str,
    lease_ms: i64,
    now: Time,
) -> Result<()> {
    let plus_one = |column: Column| Expr::col(column).add(1);
    for chunk in ids.chunks(IDS_PER_QUERY) {
        let update = Entity::update_many()
            .col_expr(Column::Status, Expr::value(status::PROCESSING))
            .col_expr(Column::LeaseEpoch, plus_one(Column::LeaseEpoch))
            .col_expr(Column::Attempts, plus_one(Column::Attempts))
            .col_expr(Column::Version, plus_one(Column::Version))
            .col_expr(Column::LeaseSession, Expr::value(session))
            .col_expr(Column::LeaseMs, Expr::value(lease_ms))
            .col_expr(Column::LeaseRenewals, Expr::value(0_i64))
            .col_expr(Column::Progress, Expr::value(0))
            .col_expr(Column::ProgressMessage, Expr::value(""))
            .col_expr(Column::DueAt, Expr::value(None::<Time>))
            .col_expr(Column::WakeAt, Expr::value(None::<Time>))
            .col_expr(Column::QueuedAt, Expr::col(Column::QueuedAt).if_null(now))
            .col_expr(Column::StartedAt, Expr::value(now))
            .col_expr(Column::UpdatedAt, Expr::value(now))
            .filter(Column::Id.is_in(chunk.iter().copied()));
        update.exec(conn).await.map_err(db_error)?;
    }
    Ok(())
}

/// Marks pending tasks that were read for update as queued, in one statement.
pub(crate) async fn queue(conn: &impl ConnectionTrait, ids: &[Uuid], now: Time) -> Result<()> {
    for chunk in ids.chunks(IDS_PER_QUERY) {
        let update = Entity::update_many()
            .col_expr(Column::Status, Expr::value(status::QUEUED))
            .col_expr(Column::QueuedAt, Expr::value(now))
            .col_expr(Column::UpdatedAt, Expr::value(now))
            .col_expr(Column::Version, Expr::col(Column::Version).add(1))
            .filter(Column::Id.is_in(chunk.iter().copied()));
        update.exec(conn).await.map_err(db_error)?;
    }
    Ok(())
}

/// Notes that a session still works on its tasks. The epoch is not asked for: one that the session has taken anew in the
/// meantime it works on as well.
pub(crate) async fn renew(conn: &impl ConnectionTrait, session: &str, ids: &[Uuid]) -> Result<()> {
    for chunk in ids.chunks(IDS_PER_QUERY) {
        // Locked in the order of their ids like everywhere, so that two transactions cannot wait for each other.
        let held = Query::select()
            .column(Column::Id)
            .from(Entity)
            .and_where(Column::LeaseSession.eq(session))
            .and_where(Expr::cust(PROCESSING))
            .and_where(Column::Id.is_in(chunk.iter().copied()))
            .order_by(Column::Id, Order::Asc)
            .lock_exclusive()
            .take();
        let update = Entity::update_many()
            .col_expr(Column::LeaseRenewals, Expr::col(Column::LeaseRenewals).add(1))
            .filter(Column::Id.in_subquery(held));
        update.exec(conn).await.map_err(db_error)?;
    }
    Ok(())
}

pub(crate) async fn set_output(conn: &impl ConnectionTrait, task: Uuid, output: Value) -> Result<()> {
    let update = task_payload::Entity::update_many()
        .col_expr(task_payload::Column::OutputData, Expr::value(output))
        .filter(task_payload::Column::TaskId.eq(task));
    update.exec(conn).await.map_err(db_error)?;
    Ok(())
}

/// The payloads of tasks, by task.
pub(crate) async fn payloads(conn: &impl ConnectionTrait, tasks: &[Uuid]) -> Result<HashMap<Uuid, Payload>> {
    let mut found = HashMap::with_capacity(tasks.len());
    for chunk in tasks.chunks(IDS_PER_QUERY) {
        let query = task_payload::Entity::find().filter(task_payload::Column::TaskId.is_in(chunk.iter().copied()));
        let rows = query.all(conn).await.map_err(db_error)?;
        found.extend(rows.into_iter().map(|payload| (payload.task_id, payload)));
    }
    Ok(found)
}

/// Deletes a task with its payload.
pub(crate) async fn delete(conn: &impl ConnectionTrait, id: Uuid) -> Result<()> {
    Entity::delete_many().filter(Column::Id.eq(id)).exec(conn).await.map_err(db_error)?;
    Ok(())
}

pub(crate) async fn list(conn: &impl ConnectionTrait, filter: &Filter, slice: Slice) -> Result<Vec<Task>> {
    keyset::slice(filtered(filter), Column::CreatedAt, Column::Id, slice).all(conn).await.map_err(db_error)
}

fn filtered(filter: &Filter) -> Select<Entity> {
    let mut query = Entity::find().filter(filter.within.holds(Column::ProjectId));
    if let Some(node) = filter.node {
        query = query.filter(Column::NodeId.eq(node));
    }
    if let Some(kind) = &filter.kind {
        query = query.filter(Column::Kind.eq(kind.as_str()));
    }
    if !filter.status.is_empty() {
        query = query.filter(Column::Status.is_in(filter.status.iter().map(String::as_str)));
    }
    if let Some(priority) = &filter.priority {
        query = query.filter(Column::Priority.eq(priority.as_str()));
    }
    query
}
