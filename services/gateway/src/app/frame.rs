//! Frames of the realtime protocol (CONTRACT.md, "Gateway").

use serde_json::{Map, Value, json};
use sker_error::{Code, Error, Fields};
use sker_types::parse_id;

/// What a client says.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientFrame {
    /// Who it is; also renews a session before its token runs out.
    Auth {
        /// The access token.
        token: String,
    },
    /// It wants a channel's events.
    Subscribe {
        /// The channel as the client names it.
        channel: String,
        /// The last `seq` it has seen.
        after: Option<u64>,
    },
    /// It wants them no more.
    Unsubscribe {
        /// The channel as the client names it.
        channel: String,
    },
    /// It has work.
    Submit {
        /// The project it is for.
        project_id: String,
        /// The body of `POST /ai-tasks`.
        data: Map<String, Value>,
    },
    /// It wants a task stopped.
    Cancel {
        /// The task.
        id: String,
    },
    /// Are you there?
    Ping,
}

/// A frame with the client's own name for it, which its answer repeats.
#[derive(Clone, Debug, PartialEq)]
pub struct Named<T> {
    /// `ref`, a string or a number.
    pub reference: Option<Value>,
    /// The frame, or what is wrong with it.
    pub content: T,
}

/// The longest name of a channel.
const LONGEST_CHANNEL: usize = 200;
/// The longest `ref`.
const LONGEST_REF: usize = 200;

/// Reads a frame.
pub fn parse(text: &str) -> Named<Result<ClientFrame, Error>> {
    let body = match serde_json::from_str::<Value>(text) {
        Ok(body) => body,
        Err(_) => {
            let content = Err(Error::invalid_request("the frame is not JSON"));
            return Named { reference: None, content };
        }
    };
    let reference = match body.get("ref") {
        Some(Value::String(text)) if text.len() <= LONGEST_REF => Some(Value::String(text.clone())),
        Some(Value::Number(number)) => Some(Value::Number(number.clone())),
        _ => None,
    };
    Named { reference, content: Fields::new(body).and_then(read) }
}

fn read(mut fields: Fields) -> Result<ClientFrame, Error> {
    let kind = fields.string("type", 1..=100);
    let kind = fields.require("type", kind).unwrap_or_default();
    // Read already; taken here so that it does not count as unknown.
    match fields.value("ref").value() {
        None | Some(Value::String(_) | Value::Number(_)) => {}
        Some(_) => fields.fault("ref", "invalid_type", "must be a string or a number"),
    }
    let channel = |fields: &mut Fields| {
        let channel = fields.string("channel", 1..=LONGEST_CHANNEL);
        fields.require("channel", channel)
    };
    let frame = match kind.as_str() {
        "auth" => {
            let token = fields.string("token", 1..=8192);
            fields.require("token", token).map(|token| ClientFrame::Auth { token })
        }
        "subscribe" => {
            let after = fields.integer("after", 0..=i64::MAX).value().and_then(|after| u64::try_from(after).ok());
            channel(&mut fields).map(|channel| ClientFrame::Subscribe { channel, after })
        }
        "unsubscribe" => channel(&mut fields).map(|channel| ClientFrame::Unsubscribe { channel }),
        "ai_task.submit" => {
            let data = fields.object("data");
            let data = fields.require("data", data);
            data.map(|data| {
                let project = data.get("project_id").and_then(Value::as_str).unwrap_or_default().to_owned();
                ClientFrame::Submit { project_id: project, data }
            })
        }
        "ai_task.cancel" => {
            let id = fields.string("id", 1..=100);
            let id = fields.require("id", id);
            if id.as_deref().is_some_and(|id| parse_id(id).is_none()) {
                fields.fault("id", "invalid", "must be a UUID");
            }
            id.map(|id| ClientFrame::Cancel { id })
        }
        "ping" => Some(ClientFrame::Ping),
        "" => None,
        other => {
            fields.fault("type", "not_allowed", format!("there is no frame {other:?}"));
            None
        }
    };
    fields.finish()?;
    frame.ok_or_else(|| Error::invalid_request("the frame is not complete"))
}

/// `authenticated`: the token was good, until then.
pub fn authenticated(user_id: &str, expires_at: &str) -> String {
    json!({"type": "authenticated", "user_id": user_id, "expires_at": expires_at}).to_string()
}

/// `subscribed`: events after `latest` follow. It is not called `seq`, by which clients tell events from answers.
pub fn subscribed(channel: &str, latest: u64, reference: Option<&Value>) -> String {
    with_reference(json!({"type": "subscribed", "channel": channel, "latest": latest}), reference)
}

/// `unsubscribed`.
pub fn unsubscribed(channel: &str, reference: Option<&Value>) -> String {
    with_reference(json!({"type": "unsubscribed", "channel": channel}), reference)
}

/// `ai_task.accepted`: the task was created, or its cancellation was.
pub fn accepted(id: &str, reference: Option<&Value>) -> String {
    with_reference(json!({"type": "ai_task.accepted", "id": id}), reference)
}

/// `pong`.
pub fn pong(reference: Option<&Value>) -> String {
    with_reference(json!({"type": "pong"}), reference)
}

/// `reset`: events were forgotten; read the state anew. Events after `latest` follow.
pub fn reset(channel: &str, latest: u64) -> String {
    json!({"type": "reset", "channel": channel, "latest": latest}).to_string()
}

/// `error`. Of a fault of our own nothing is told but that it happened.
pub fn error(error: &Error, reference: Option<&Value>) -> String {
    let mut detail = error.message().to_owned();
    if error.code() == Code::ValidationFailed {
        // The frame has no `errors`: the sentences go into the detail.
        let sentences: Vec<String> =
            error.fields().iter().map(|fault| format!("{} {}", fault.field, fault.message)).collect();
        if !sentences.is_empty() {
            detail = sentences.join("; ");
        }
    }
    with_reference(json!({"type": "error", "code": error.code().as_str(), "detail": detail}), reference)
}

fn with_reference(mut frame: Value, reference: Option<&Value>) -> String {
    if let Some(reference) = reference {
        frame["ref"] = reference.clone();
    }
    frame.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(frame: Value) -> ClientFrame {
        parse(&frame.to_string()).content.unwrap()
    }

    #[test]
    fn every_frame_of_the_contract_is_read() {
        let id = "0190a5b0-0000-7000-8000-000000000000";
        assert_eq!(good(json!({"type": "auth", "token": "t"})), ClientFrame::Auth { token: "t".into() });
        assert_eq!(
            good(json!({"type": "subscribe", "channel": "user:me", "after": 7, "ref": "a"})),
            ClientFrame::Subscribe { channel: "user:me".into(), after: Some(7) }
        );
        assert_eq!(
            good(json!({"type": "unsubscribe", "channel": "user:me"})),
            ClientFrame::Unsubscribe { channel: "user:me".into() }
        );
        assert_eq!(good(json!({"type": "ping", "ref": 1})), ClientFrame::Ping);
        assert_eq!(good(json!({"type": "ai_task.cancel", "id": id})), ClientFrame::Cancel { id: id.into() });
        let submit = good(json!({"type": "ai_task.submit", "ref": "r", "data": {"project_id": "p", "type": "x"}}));
        assert!(matches!(submit, ClientFrame::Submit { project_id, data } if project_id == "p" && data.len() == 2));
    }

    #[test]
    fn a_bad_frame_is_answered_with_everything_that_is_wrong_and_its_ref() {
        for frame in [
            json!({"type": "subscribe", "ref": "r"}),
            json!({"type": "subscribe", "channel": "user:me", "after": -1, "ref": "r"}),
            json!({"type": "subscribe", "channel": "user:me", "colour": "red", "ref": "r"}),
            json!({"type": "dance", "ref": "r"}),
            json!({"type": "ai_task.cancel", "id": "7", "ref": "r"}),
            json!({"ref": "r"}),
        ] {
            let named = parse(&frame.to_string());
            assert!(named.content.is_err(), "{frame}");
            assert_eq!(named.reference, Some(json!("r")));
        }
        for text in ["", "[]", "7", "{", "null"] {
            assert!(parse(text).content.is_err(), "{text}");
        }
    }

    #[test]
    fn an_error_tells_what_is_wrong_and_nothing_internal() {
        let text = error(&Error::internal("secret cause"), Some(&json!("r")));
        assert!(!text.contains("secret") && text.contains("\"code\":\"internal\"") && text.contains("\"ref\":\"r\""));
    }
}
