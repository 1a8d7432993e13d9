use std::error::Error as _;

use serde::{Deserialize, Serialize};
use sker_error::{Code, Error, FieldError};
use tonic::Status;

/// What a gRPC code alone does not say; JSON in the status details.
#[derive(Serialize, Deserialize)]
struct Details {
    code: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

/// The gRPC status of an error. Its private cause stays here; a fault of our own is logged, once, at this boundary.
pub fn to_status(error: &Error) -> Status {
    if error.code() == Code::Internal {
        tracing::error!(error.cause = ?error.cause(), "a gRPC call failed");
    }
    let details = Details {
        code: error.code().as_str().to_owned(),
        errors: error.fields().to_vec(),
        retry_after_ms: error.retry_after_ms(),
    };
    let bytes = serde_json::to_vec(&details).unwrap_or_default();
    Status::with_details(tonic::Code::from_i32(error.code().grpc_code()), error.message(), bytes.into())
}

/// The error that a status stands for. A status that is not ours (a lost connection, a foreign server) gets the nearest
/// code, and its text stays private.
pub fn from_status(status: Status) -> Error {
    if let Ok(details) = serde_json::from_slice::<Details>(status.details())
        && let Some(code) = Code::parse(&details.code)
    {
        let error = Error::new(code, status.message()).with_fields(details.errors);
        return match details.retry_after_ms {
            Some(delay) => error.with_retry_after_ms(delay),
            None => error,
        };
    }
    let error = match status.code() {
        // Made on this side: the call was cut off, whatever code tonic found nearest, or its own timer ran out.
        _ if status.source().is_some() && !is_timeout(&status) => Error::unavailable("the service is away"),
        tonic::Code::Unavailable => Error::unavailable("the service is away"),
        // tonic says `Cancelled` when its own client-side timer runs out.
        tonic::Code::DeadlineExceeded | tonic::Code::Cancelled => Error::timeout("the service did not answer in time"),
        tonic::Code::Unauthenticated => Error::unauthenticated("the service refused the credentials"),
        tonic::Code::PermissionDenied => Error::forbidden("the service refused the call"),
        tonic::Code::ResourceExhausted => Error::new(Code::RateLimited, "the service is overloaded"),
        tonic::Code::OutOfRange => Error::new(Code::PayloadTooLarge, "the message is too large"),
        _ => Error::new(Code::BadGateway, "the service gave no usable answer"),
    };
    error.with_cause(status)
}

fn is_timeout(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<tonic::TimeoutExpired>() {
            return true;
        }
        source = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_the_wire_without_its_cause() {
        for code in Code::ALL {
            let sent = Error::new(code, "public")
                .with_fields(vec![FieldError::new("a", "b", "c")])
                .with_retry_after_ms(7)
                .with_cause("secret");
            let status = to_status(&sent);
            assert!(!format!("{status:?}").contains("secret"));
            let received = from_status(status);
            assert_eq!(received.code(), code);
            assert_eq!(received.message(), "public");
            assert_eq!(received.fields(), sent.fields());
            assert_eq!(received.retry_after_ms(), Some(7));
        }
    }

    #[test]
    fn a_foreign_status_gets_the_nearest_code() {
        assert_eq!(from_status(Status::unavailable("tcp reset")).code(), Code::Unavailable);
        assert_eq!(from_status(Status::unknown("panic at line 3")).message(), "the service gave no usable answer");
    }
}
