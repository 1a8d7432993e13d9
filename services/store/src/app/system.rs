//! What administrators see of the whole.

use std::collections::BTreeMap;

use serde::Serialize;
use sker_api::Ctx;
use sker_error::{Error, Result};
use utoipa::ToSchema;

use super::App;
use crate::store::stats;

/// How much there is of everything that is not deleted.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Stats {
    users: u64,
    projects: u64,
    nodes: u64,
    connections: u64,
    /// Tasks by status.
    ai_tasks: BTreeMap<String, i64>,
}

impl App {
    /// Counts everything; for administrators.
    pub(crate) async fn stats(&self, ctx: &Ctx) -> Result<Stats> {
        require_admin(ctx)?;
        let counts = stats::counts(self.store.reader()).await?;
        Ok(Stats {
            users: counts.users,
            projects: counts.projects,
            nodes: counts.nodes,
            connections: counts.connections,
            ai_tasks: counts.tasks.into_iter().collect(),
        })
    }
}

/// Refuses everybody but administrators.
pub(super) fn require_admin(ctx: &Ctx) -> Result<()> {
    if ctx.principal.is_admin() { Ok(()) } else { Err(Error::forbidden("only administrators may do this")) }
}
