//! Exit statuses, and the failures that lead to them.

use std::{fmt, process::ExitCode};

use sker_config::EXIT_CONFIG;
use sker_error::{Code, Error};
use sker_runtime::signal::EXIT_INTERRUPTED;

/// How the program ends. `sker --help` lists these; scripts rely on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// A failure of no other kind.
    Failure = 1,
    /// The input is wrong: arguments, a file, a value that was refused.
    Usage = 2,
    /// Not signed in, or not allowed.
    NotSignedIn = 3,
    /// What was asked for does not exist.
    NotFound = 4,
    /// The state does not allow it.
    Conflict = 5,
    /// The platform, or a part of it, does not answer; trying again later may help.
    Unavailable = 6,
    /// The configuration is wrong.
    Config = EXIT_CONFIG as isize,
    /// Ctrl-C before the work was done.
    Interrupted = EXIT_INTERRUPTED as isize,
}

/// The table of exit statuses for `--help`.
pub const EXIT_HELP: &str = "\
Exit status:
  0   success
  1   failure
  2   wrong arguments or input; a missing, empty or binary file
  3   not signed in, or not allowed
  4   not found
  5   conflict with the current state
  6   the platform does not answer; try again later
  64  wrong configuration
  130 interrupted before the work was done";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

impl From<Code> for Exit {
    fn from(code: Code) -> Self {
        match code {
            Code::InvalidRequest
            | Code::UnknownField
            | Code::ValidationFailed
            | Code::MethodNotAllowed
            | Code::NotAcceptable
            | Code::PayloadTooLarge
            | Code::UnsupportedMediaType => Exit::Usage,
            Code::Unauthenticated | Code::Forbidden => Exit::NotSignedIn,
            Code::NotFound | Code::Gone => Exit::NotFound,
            Code::Conflict | Code::PreconditionFailed | Code::IdempotencyMismatch | Code::PreconditionRequired => {
                Exit::Conflict
            }
            Code::RateLimited | Code::BadGateway | Code::Unavailable | Code::Timeout => Exit::Unavailable,
            Code::Internal => Exit::Failure,
        }
    }
}

/// Why a command failed, in words for people.
#[derive(Debug)]
pub struct Failure {
    /// The exit status.
    pub exit: Exit,
    /// What went wrong, and what to do about it where that is known.
    pub message: String,
}

impl Failure {
    /// A failure with its exit status.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Failure { exit, message: message.into() }
    }

    /// Wrong arguments or input.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let mut message = error.message().to_owned();
        // The names of the fields are in the message; what is wrong with each is not.
        for field in error.fields() {
            message.push_str(&format!("\n  {}: {}", field.field, field.message));
        }
        if error.code() == Code::Unauthenticated {
            message.push_str("\nsign in with `sker login`");
        }
        Failure::new(error.code().into(), message)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        let code = error.chain().find_map(|cause| cause.downcast_ref::<Error>()).map(Error::code);
        Failure::new(code.map_or(Exit::Failure, Exit::from), format!("{error:#}"))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            // Whoever read the output has seen enough: nothing to complain of.
            return Failure::new(Exit::Failure, "");
        }
        Failure::new(Exit::Failure, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn each_kind_of_error_has_its_exit_status() {
        for (code, exit) in [
            (Code::ValidationFailed, 2),
            (Code::Unauthenticated, 3),
            (Code::NotFound, 4),
            (Code::PreconditionFailed, 5),
            (Code::Unavailable, 6),
            (Code::Internal, 1),
        ] {
            assert_eq!(Exit::from(code) as u8, exit, "{code:?}");
            assert!(EXIT_HELP.contains(&format!("\n  {exit}  ")));
        }
        assert_eq!(Exit::Config as u8, 64);
    }

    #[test]
    fn context_does_not_hide_the_kind_of_failure() {
        let error: anyhow::Error = Err::<(), _>(Error::not_found("project")).context("reading the canvas").unwrap_err();
        let failure = Failure::from(error);
        assert_eq!(failure.exit, Exit::NotFound);
        assert!(failure.message.starts_with("reading the canvas"), "{failure}");
    }

    #[test]
    fn every_refused_field_is_shown() {
        let error = Error::validation(vec![sker_error::FieldError::new("name", "required", "this field is required")]);
        assert_eq!(Failure::from(error).message, "invalid: name\n  name: this field is required");
    }
}
