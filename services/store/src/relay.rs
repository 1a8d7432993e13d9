//! What the store adds to the relaying of its outbox.

use async_trait::async_trait;
use sker_db::Transaction;
use sker_error::Result;
use sker_outbox::{OutboxRow, RelayHook, append};

use crate::app::queue_relayed;

/// Queues tasks in the transaction that marks their wake-ups as sent.
pub(crate) struct QueueTasks;

#[async_trait]
impl RelayHook for QueueTasks {
    async fn published(&self, tx: &Transaction, rows: &[OutboxRow]) -> Result<()> {
        let events = queue_relayed(tx, rows).await?;
        append(tx, events).await
    }
}
