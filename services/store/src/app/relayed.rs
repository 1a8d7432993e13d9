//! A pending task is queued once its wake-up is on its way.

use std::collections::HashMap;

use sker_error::Result;
use sker_outbox::{NewRow, OutboxRow};
use sker_types::{Uuid, event_type, now};

use super::{events, leases::queued};
use crate::store::{
    Conn,
    tasks::{self, Task, status},
};

/// Marks the pending tasks among those whose wake-ups were relayed as queued, and answers with the events of that.
pub(crate) async fn queue_relayed(conn: &impl Conn, rows: &[OutboxRow]) -> Result<Vec<NewRow>> {
    let wakes = rows.iter().filter(|row| row.kind == events::WAKE);
    let traces: HashMap<Uuid, Option<String>> = wakes.map(|row| (row.aggregate_id, row.traceparent.clone())).collect();
    if traces.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<Uuid> = traces.keys().copied().collect();
    let now = now();
    let is_pending = |row: &Task| row.status == status::PENDING && row.due_at.is_none_or(|due| due <= now);
    let pending = tasks::find_many_for_update(conn, &ids).await?.into_iter().filter(is_pending);
    let queued: Vec<Task> = pending.map(|row| queued(row, now)).collect();
    let ids: Vec<Uuid> = queued.iter().map(|row| row.id).collect();
    tasks::queue(conn, &ids, now).await?;
    let event = |row: &Task| {
        let trace = traces.get(&row.id).cloned().flatten();
        events::task(event_type::TASK_QUEUED, row, None).with_traceparent(trace)
    };
    Ok(queued.iter().map(event).collect())
}
