use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use sker_error::{Error, Result};
use sker_types::{Time, Uuid};

/// A message with the attributes of CloudEvents 1.0, which travel as headers (binary mode).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Stable when it is published again; receivers drop what they know.
    pub id: Uuid,
    /// What it is about: a type of event, or `task.wake`.
    pub kind: String,
    /// The service that made it.
    pub source: String,
    /// When it was made.
    pub time: Time,
    /// The routing key.
    pub key: String,
    /// Anything else, for example `traceparent` (W3C Trace Context).
    pub headers: BTreeMap<String, String>,
    /// The payload, JSON.
    pub body: Bytes,
}

impl Message {
    /// The header of the W3C trace context.
    pub const TRACEPARENT: &str = "traceparent";

    /// A message with a JSON body, made now, with an id of its own.
    pub fn json<T: Serialize + ?Sized>(kind: &str, source: &str, key: &str, body: &T) -> Result<Self> {
        Ok(Message {
            id: sker_types::new_id(),
            kind: kind.to_owned(),
            source: source.to_owned(),
            time: sker_types::now(),
            key: key.to_owned(),
            headers: BTreeMap::new(),
            body: serde_json::to_vec(body).map_err(Error::internal)?.into(),
        })
    }

    /// The same message with another id.
    pub fn with_id(mut self, id: Uuid) -> Self {
        self.id = id;
        self
    }

    /// The same message as part of a trace.
    pub fn with_traceparent(mut self, traceparent: Option<String>) -> Self {
        if let Some(traceparent) = traceparent {
            self.headers.insert(Self::TRACEPARENT.to_owned(), traceparent);
        }
        self
    }

    /// The trace it belongs to.
    pub fn traceparent(&self) -> Option<&str> {
        self.headers.get(Self::TRACEPARENT).map(String::as_str)
    }

    /// Reads the body.
    ///
    /// # Errors
    /// The body is not what was expected. It will not be at the next delivery either: reject such a message.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|cause| {
            Error::invalid_request(format!("the body of {} message {} cannot be read", self.kind, self.id))
                .with_cause(cause)
        })
    }

    /// About what it takes in memory and on the wire.
    pub(crate) fn bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.body.len() + self.kind.len() + self.source.len() + self.key.len() + headers
    }
}
