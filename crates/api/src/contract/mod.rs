//! What every implementation of the api traits must do, whichever way it is reached. A service's tests run these both on
//! the implementation itself and through a gRPC client of it: same codes, same answers, no private cause on the wire.
//!
//! The functions panic on a violation, as test assertions do.

pub mod registry;
pub mod store;

use sker_error::{Code, Error};

/// Asserts the code of a refusal and that nothing private shows.
fn refused<T>(result: Result<T, Error>, code: Code, what: &str) {
    match result {
        Ok(_) => panic!("{what}: must be refused with {}", code.as_str()),
        Err(error) => {
            assert_eq!(error.code(), code, "{what}: {error:?}");
            let message = error.message().to_lowercase();
            for private in ["sqlx", "seaorm", "sqlite", "postgres", "panicked", ".rs:"] {
                assert!(!message.contains(private), "{what}: `{message}` shows a private cause");
            }
        }
    }
}
