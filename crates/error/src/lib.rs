//! The closed set of error codes (CONTRACT.md) and the one error type.
//!
//! An [`Error`] keeps what a caller may see apart from its cause, which only logs see. Each transport maps a [`Code`]
//! once: to an HTTP status and problem+json (RFC 9457), and to a gRPC status.

mod code;
mod fields;
mod problem;

use std::{error::Error as StdError, fmt};

pub use code::Code;
pub use fields::{Fields, MAX_DEPTH, Patch};
pub use problem::{FieldError, Problem};

/// A result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed call: a public code and message, and a private cause.
pub struct Error {
    inner: Box<Inner>,
}

struct Inner {
    code: Code,
    message: String,
    fields: Vec<FieldError>,
    retry_after_ms: Option<u64>,
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error with a public message.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Error {
            inner: Box::new(Inner {
                code,
                message: message.into(),
                fields: Vec::new(),
                retry_after_ms: None,
                cause: None,
            }),
        }
    }

    /// A request that cannot be understood.
    pub fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidRequest, message)
    }

    /// A request whose fields are wrong; all of them at once.
    pub fn validation(fields: Vec<FieldError>) -> Self {
        let names: Vec<&str> = fields.iter().map(|field| field.field.as_str()).collect();
        let mut error = Self::new(Code::ValidationFailed, format!("invalid: {}", names.join(", ")));
        error.inner.fields = fields;
        error
    }

    /// A request with fields that do not exist.
    pub fn unknown_fields(names: impl IntoIterator<Item = String>) -> Self {
        let fields: Vec<FieldError> =
            names.into_iter().map(|name| FieldError::new(name, "unknown_field", "this field does not exist")).collect();
        let names: Vec<&str> = fields.iter().map(|field| field.field.as_str()).collect();
        let mut error = Self::new(Code::UnknownField, format!("unknown field: {}", names.join(", ")));
        error.inner.fields = fields;
        error
    }

    /// Something that does not exist, or that the caller may not know of. `what` is a noun, for example `project`.
    pub fn not_found(what: &str) -> Self {
        Self::new(Code::NotFound, format!("no such {what}"))
    }

    /// Missing or bad credentials.
    pub fn unauthenticated(message: impl Into<String>) -> Self {
        Self::new(Code::Unauthenticated, message)
    }

    /// Known, but not allowed.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(Code::Forbidden, message)
    }

    /// The state does not allow it.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(Code::Conflict, message)
    }

    /// A dependency is away; worth trying again.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Code::Unavailable, message).with_retry_after_ms(1_000)
    }

    /// The deadline has passed.
    pub fn timeout(message: impl Into<String>) -> Self {
        Self::new(Code::Timeout, message)
    }

    /// A fault of our own. The cause is for the log; callers see nothing of it.
    pub fn internal(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(Code::Internal, "an internal error occurred").with_cause(cause)
    }

    /// Adds the private cause.
    pub fn with_cause(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.inner.cause = Some(cause.into());
        self
    }

    /// Adds named fields.
    pub fn with_fields(mut self, fields: Vec<FieldError>) -> Self {
        self.inner.fields = fields;
        self
    }

    /// Says when to try again.
    pub fn with_retry_after_ms(mut self, retry_after_ms: u64) -> Self {
        self.inner.retry_after_ms = Some(retry_after_ms);
        self
    }

    /// The public code.
    pub fn code(&self) -> Code {
        self.inner.code
    }

    /// The public message.
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// The fields that are wrong.
    pub fn fields(&self) -> &[FieldError] {
        &self.inner.fields
    }

    /// When to try again, in milliseconds.
    pub fn retry_after_ms(&self) -> Option<u64> {
        self.inner.retry_after_ms
    }

    /// The private cause.
    pub fn cause(&self) -> Option<&(dyn StdError + Send + Sync + 'static)> {
        self.inner.cause.as_deref()
    }

    /// Whether a call that is safe to repeat may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self.code(), Code::Unavailable | Code::Timeout | Code::BadGateway | Code::RateLimited)
    }

    /// The RFC 9457 document for this error.
    pub fn to_problem(&self, instance: &str, request_id: &str) -> Problem {
        Problem::new(self, instance, request_id)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.code().as_str(), self.message())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("Error");
        debug.field("code", &self.code()).field("message", &self.message());
        if !self.fields().is_empty() {
            debug.field("fields", &self.fields());
        }
        if let Some(cause) = self.cause() {
            debug.field("cause", &cause);
        }
        debug.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.inner.cause.as_deref().map(|cause| cause as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_codes_are_the_codes() {
        let table = include_str!("../../../docs/errors.md");
        for code in Code::ALL {
            let row = format!("`{}` | {} |", code.as_str(), code.http_status());
            assert!(table.contains(&row), "docs/errors.md lacks `{row}`");
            assert!(table.contains(code.description()), "docs/errors.md does not say when {} is given", code.as_str());
            assert_eq!(Code::parse(code.as_str()), Some(code));
        }
        assert_eq!(table.matches("<a id=").count(), Code::ALL.len());
    }

    #[test]
    fn a_cause_never_shows() {
        let error = Error::internal("password=hunter2");
        let problem = serde_json::to_string(&error.to_problem("/x", "r")).expect("serialises");
        assert!(!problem.contains("hunter2") && !error.to_string().contains("hunter2"));
        assert!(error.cause().is_some());
    }
}
