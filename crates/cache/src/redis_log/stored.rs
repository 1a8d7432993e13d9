//! How an event is kept: its id, by which a script finds it, and the rest as JSON. Its number and its channel are known from
//! where it is kept.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sker_error::{Error, Result};
use sker_types::{ChannelEvent, Time, Uuid};

use crate::NewEvent;

const ID_LENGTH: usize = 36;

#[derive(Serialize)]
struct Writing<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    time: Time,
    data: &'a Value,
}

#[derive(Deserialize)]
struct Reading {
    #[serde(rename = "type")]
    kind: String,
    time: Time,
    data: Value,
}

pub(super) fn encode(event: &NewEvent) -> Result<Vec<u8>> {
    let mut entry = event.id.to_string().into_bytes();
    let rest = Writing { kind: &event.kind, time: event.time, data: &event.data };
    serde_json::to_writer(&mut entry, &rest).map_err(Error::internal)?;
    Ok(entry)
}

pub(super) fn decode(entry: &[u8], channel: &str, seq: u64) -> Result<ChannelEvent> {
    let (id, rest) =
        entry.split_at_checked(ID_LENGTH).ok_or_else(|| Error::internal("an event in Redis is cut off"))?;
    let id = Uuid::try_parse_ascii(id).map_err(Error::internal)?;
    let Reading { kind, time, data } = serde_json::from_slice(rest).map_err(Error::internal)?;
    Ok(ChannelEvent { kind, id, seq, channel: channel.to_owned(), time, data })
}
