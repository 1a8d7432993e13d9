use async_trait::async_trait;
use sker_error::Result;
use sker_types::Time;

use super::{engine::Journal, view::EventView};

/// When a change is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// When the database has it.
    Committed,
    /// When memory has it; the database follows.
    Memory,
}

/// Which stored events are wanted. What is empty or missing means any.
#[derive(Clone, Debug, Default)]
pub struct EventQuery {
    /// Whose.
    pub tenant: String,
    /// In this group.
    pub group: String,
    /// Not in this group.
    pub hidden_group: String,
    /// Of this service.
    pub service: String,
    /// Of this instance.
    pub instance_id: String,
    /// Of this type.
    pub kind: String,
    /// Not before this time.
    pub since: Option<Time>,
    /// Before this time.
    pub until: Option<Time>,
    /// Before the event of this revision; events come newest first.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: u64,
}

/// Where changes are kept. They are recorded as they are made and written in batches behind.
#[async_trait]
pub trait Storage: Journal {
    /// Whether the last write came through.
    fn is_available(&self) -> bool;
    /// Waits until the change of a revision is stored; `false` when that cannot be said now. It will be stored later.
    async fn committed(&self, revision: u64) -> bool;
    /// Stored events, newest first.
    async fn events(&self, query: &EventQuery) -> Result<Vec<EventView>>;
}
