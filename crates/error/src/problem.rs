use serde::{Deserialize, Serialize};

use crate::{Code, Error};

/// One wrong field of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// Its path in the body, with dots and indexes: `settings.theme`, `inputs[2]`.
    pub field: String,
    /// A stable word for programs: `required`, `out_of_range`, `too_long`, `invalid`, `unknown_field`, ...
    pub code: String,
    /// A sentence for people.
    pub message: String,
}

impl FieldError {
    /// A wrong field.
    pub fn new(field: impl Into<String>, code: impl Into<String>, message: impl Into<String>) -> Self {
        FieldError { field: field.into(), code: code.into(), message: message.into() }
    }
}

/// An error document (RFC 9457), media type `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A URI reference that names the kind of problem; it points into docs/errors.md.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind of problem for people.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What went wrong this time.
    pub detail: String,
    /// The path of the request.
    pub instance: String,
    /// The code, out of a closed set.
    pub code: String,
    /// Which request it was, as in the logs.
    pub request_id: String,
    /// The wrong fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

impl Problem {
    /// The media type of this document.
    pub const MEDIA_TYPE: &str = "application/problem+json";

    pub(crate) fn new(error: &Error, instance: &str, request_id: &str) -> Self {
        let code = error.code();
        Problem {
            kind: format!("https://sker.dev/errors#{}", code.as_str()),
            title: code.title().to_owned(),
            status: code.http_status(),
            detail: error.message().to_owned(),
            instance: instance.to_owned(),
            code: code.as_str().to_owned(),
            request_id: request_id.to_owned(),
            errors: error.fields().to_vec(),
        }
    }

    /// Back to an error, for clients.
    pub fn into_error(self) -> Error {
        let code = Code::parse(&self.code).unwrap_or_else(|| Code::from_http_status(self.status));
        Error::new(code, self.detail).with_fields(self.errors)
    }
}
