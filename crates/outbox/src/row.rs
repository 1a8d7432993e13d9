use sea_orm::{ActiveValue, ConnectionTrait, EntityTrait};
use serde::Serialize;
use serde_json::Value;
use sker_bus::topology::EVENTS_TOPIC;
use sker_db::db_error;
use sker_error::{Error, Result};
use sker_types::Uuid;

use crate::entity::{ActiveModel, Channels, Entity};

/// Rows per statement: well within SQLite's 32,766 and PostgreSQL's 65,535 parameters.
const ROWS_PER_INSERT: usize = 500;

/// Something that others must hear of.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRow {
    exchange: Option<String>,
    key: String,
    kind: String,
    aggregate_id: Uuid,
    channels: Vec<String>,
    data: Value,
    traceparent: Option<String>,
}

impl NewRow {
    /// A domain event: goes to `events.topic` as a [`sker_types::DomainEvent`] and into the channels.
    pub fn event(kind: &str, aggregate_id: Uuid, channels: Vec<String>, data: Value) -> Self {
        NewRow {
            exchange: Some(EVENTS_TOPIC.to_owned()),
            key: kind.to_owned(),
            kind: kind.to_owned(),
            aggregate_id,
            channels,
            data,
            traceparent: None,
        }
    }

    /// An event that only shows in channels: too fleeting to be kept or acted on, for example progress.
    pub fn realtime(kind: &str, aggregate_id: Uuid, channels: Vec<String>, data: Value) -> Self {
        NewRow { exchange: None, ..Self::event(kind, aggregate_id, channels, data) }
    }

    /// A message for an exchange, with its body as given; shows in no channel.
    pub fn message<T: Serialize>(exchange: &str, key: &str, kind: &str, aggregate_id: Uuid, body: &T) -> Result<Self> {
        Ok(NewRow {
            exchange: Some(exchange.to_owned()),
            key: key.to_owned(),
            kind: kind.to_owned(),
            aggregate_id,
            channels: Vec::new(),
            data: serde_json::to_value(body).map_err(Error::internal)?,
            traceparent: None,
        })
    }

    /// The trace it belongs to (W3C Trace Context).
    pub fn with_traceparent(mut self, traceparent: Option<String>) -> Self {
        self.traceparent = traceparent;
        self
    }

    fn into_model(self) -> ActiveModel {
        ActiveModel {
            position: ActiveValue::NotSet,
            id: ActiveValue::Set(sker_types::new_id()),
            exchange: ActiveValue::Set(self.exchange),
            key: ActiveValue::Set(self.key),
            kind: ActiveValue::Set(self.kind),
            aggregate_id: ActiveValue::Set(self.aggregate_id),
            channels: ActiveValue::Set(Channels(self.channels)),
            data: ActiveValue::Set(self.data),
            traceparent: ActiveValue::Set(self.traceparent),
            created_at: ActiveValue::Set(sker_types::now()),
            published_at: ActiveValue::Set(None),
        }
    }
}

/// Writes rows in the caller's transaction, in order; they become visible to the relay when it commits. Ids and times are
/// made here. To keep an aggregate's order on PostgreSQL, append after the statement that locks the aggregate's row.
pub async fn append(tx: &impl ConnectionTrait, rows: Vec<NewRow>) -> Result<()> {
    let mut rows = rows.into_iter().map(NewRow::into_model).peekable();
    while rows.peek().is_some() {
        let chunk: Vec<ActiveModel> = rows.by_ref().take(ROWS_PER_INSERT).collect();
        Entity::insert_many(chunk).exec_without_returning(tx).await.map_err(db_error)?;
    }
    Ok(())
}
