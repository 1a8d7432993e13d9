//! A channel event, read no further than the hub needs.

use std::borrow::Cow;

use serde::Deserialize;
use sker_error::{Error, Result};
use sker_types::ChannelEvent;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// An event with the text that clients get, made once for all of them.
#[derive(Clone, Debug)]
pub struct LiveEvent {
    /// Its type.
    pub kind: String,
    /// Its channel's full name.
    pub channel: String,
    /// Its place there.
    pub seq: u64,
    /// The whole event as JSON.
    pub text: Utf8Bytes,
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    channel: Cow<'a, str>,
    seq: u64,
}

impl LiveEvent {
    /// Reads the body of a message.
    pub fn read(body: &bytes::Bytes) -> Result<LiveEvent> {
        let head: Head<'_> = serde_json::from_slice(body)
            .map_err(|cause| Error::invalid_request("not a channel event").with_cause(cause))?;
        let (kind, channel, seq) = (head.kind.into_owned(), head.channel.into_owned(), head.seq);
        let text = Utf8Bytes::try_from(body.clone())
            .map_err(|cause| Error::invalid_request("not a channel event").with_cause(cause))?;
        Ok(LiveEvent { kind, channel, seq, text })
    }

    /// From the log.
    pub fn from_log(event: &ChannelEvent) -> Result<LiveEvent> {
        let text = serde_json::to_string(event).map_err(Error::internal)?;
        let (kind, channel) = (event.kind.clone(), event.channel.clone());
        Ok(LiveEvent { kind, channel, seq: event.seq, text: text.into() })
    }

    /// The text with the channel under the name that the client knows it by (`user:me`).
    pub fn text_as(&self, shown: &str) -> Utf8Bytes {
        if self.channel == shown {
            return self.text.clone();
        }
        match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(self.text.as_str()) {
            Ok(mut event) => {
                event.insert("channel".to_owned(), shown.into());
                serde_json::Value::Object(event).to_string().into()
            }
            // It was read as JSON before.
            Err(_) => self.text.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn the_text_is_passed_on_as_it_came() {
        let body =
            Bytes::from_static(br#"{"type":"a.b","id":"x","seq":7,"channel":"user:1","time":"t","data":{"n":1}}"#);
        let event = LiveEvent::read(&body).unwrap();
        assert_eq!((event.kind.as_str(), event.channel.as_str(), event.seq), ("a.b", "user:1", 7));
        assert_eq!(event.text_as("user:1").as_str().as_bytes(), &body[..]);
        assert!(event.text_as("user:me").as_str().contains(r#""channel":"user:me""#));
        for bad in ["", "{}", "[]", r#"{"type":"a","channel":"c","seq":-1}"#] {
            assert!(LiveEvent::read(&Bytes::from(bad)).is_err(), "{bad}");
        }
    }
}
