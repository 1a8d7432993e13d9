use std::fmt;

use super::Usage;

/// Why an engine gave no output.
#[derive(Clone, Debug, PartialEq)]
pub enum EngineError {
    /// It was told to stop.
    Cancelled,
    /// It failed.
    Failed(Failure),
}

/// A failed attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// A stable word: `invalid_input`, `engine_error`, `engine_unavailable`, `rate_limited`, `engine_timeout`,
    /// `engine_unauthorized`, `engine_panicked`, `unknown_engine`, `timeout`.
    pub code: &'static str,
    /// For people; never holds a secret or an internal detail.
    pub message: String,
    /// Whether another attempt may succeed.
    pub retryable: bool,
    /// How long to wait before it, when the provider said so.
    pub retry_after_ms: Option<u64>,
    /// What the failed attempt cost.
    pub usage: Option<Usage>,
}

impl Failure {
    /// A failure that no other attempt can mend.
    pub fn permanent(code: &'static str, message: impl Into<String>) -> Self {
        Failure { code, message: message.into(), retryable: false, retry_after_ms: None, usage: None }
    }

    /// A failure that may be over at the next attempt.
    pub fn transient(code: &'static str, message: impl Into<String>) -> Self {
        Failure { retryable: true, ..Self::permanent(code, message) }
    }

    /// Adds when to try again.
    pub fn with_retry_after_ms(self, retry_after_ms: u64) -> Self {
        Failure { retry_after_ms: Some(retry_after_ms), ..self }
    }

    /// Adds what the attempt cost.
    pub fn with_usage(self, usage: Usage) -> Self {
        Failure { usage: Some(usage), ..self }
    }
}

impl From<Failure> for EngineError {
    fn from(failure: Failure) -> Self {
        EngineError::Failed(failure)
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EngineError::Cancelled => formatter.write_str("cancelled"),
            EngineError::Failed(failure) => write!(formatter, "{}: {}", failure.code, failure.message),
        }
    }
}

impl std::error::Error for EngineError {}
