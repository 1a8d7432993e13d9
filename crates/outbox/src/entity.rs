use sea_orm::entity::prelude::*;
use sea_orm::{ActiveModelBehavior, FromJsonQueryResult};
use serde::{Deserialize, Serialize};
use sker_types::{DomainEvent, Time};

/// A row of the outbox.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "outbox")]
pub struct Model {
    /// Where it stands in the order of this database.
    #[sea_orm(primary_key)]
    pub position: i64,
    /// Stable across repeated deliveries: the message's and the event's id.
    #[sea_orm(unique)]
    pub id: Uuid,
    /// The exchange; `None` for what only shows in channels.
    pub exchange: Option<String>,
    /// The routing key.
    pub key: String,
    /// The type of event or message.
    pub kind: String,
    /// What it happened to.
    pub aggregate_id: Uuid,
    /// The realtime channels it shows in.
    #[sea_orm(column_type = "JsonBinary")]
    pub channels: Channels,
    /// The event's data, or the message's body.
    #[sea_orm(column_type = "JsonBinary")]
    pub data: Json,
    /// The trace of the request that caused it (W3C Trace Context).
    pub traceparent: Option<String>,
    /// When it was written.
    pub created_at: Time,
    /// When the relay had carried it out.
    pub published_at: Option<Time>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Names of realtime channels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, FromJsonQueryResult)]
pub struct Channels(pub Vec<String>);

impl Model {
    /// The event as it stands on the bus.
    pub fn to_event(&self) -> DomainEvent {
        DomainEvent {
            id: self.id,
            kind: self.kind.clone(),
            aggregate_id: self.aggregate_id,
            channels: self.channels.0.clone(),
            time: self.created_at,
            data: self.data.clone(),
        }
    }
}
