/// A public error code. The set is closed; each code has one HTTP status and one gRPC code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// The request cannot be understood.
    InvalidRequest,
    /// The body names a field that does not exist.
    UnknownField,
    /// A field's value is not allowed.
    ValidationFailed,
    /// Credentials are missing, wrong or expired.
    Unauthenticated,
    /// The caller is known but may not do this.
    Forbidden,
    /// It does not exist, or the caller may not know of it.
    NotFound,
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// No representation fits the Accept header.
    NotAcceptable,
    /// The state of the resource does not allow it.
    Conflict,
    /// It was there and will not come back.
    Gone,
    /// The resource has changed since it was read.
    PreconditionFailed,
    /// The body is larger than is accepted here.
    PayloadTooLarge,
    /// The body's Content-Type is not accepted here.
    UnsupportedMediaType,
    /// The key was used before with another body.
    IdempotencyMismatch,
    /// This write needs an If-Match header.
    PreconditionRequired,
    /// A limit is used up; try again later.
    RateLimited,
    /// A fault of the service itself.
    Internal,
    /// The upstream service gave no usable answer.
    BadGateway,
    /// The service, or one it cannot do without, is away; try again later.
    Unavailable,
    /// The deadline passed before there was an answer.
    Timeout,
}

impl Code {
    /// Every code, in the order of docs/errors.md.
    pub const ALL: [Code; 20] = [
        Code::InvalidRequest,
        Code::UnknownField,
        Code::ValidationFailed,
        Code::Unauthenticated,
        Code::Forbidden,
        Code::NotFound,
        Code::MethodNotAllowed,
        Code::NotAcceptable,
        Code::Conflict,
        Code::Gone,
        Code::PreconditionFailed,
        Code::PayloadTooLarge,
        Code::UnsupportedMediaType,
        Code::IdempotencyMismatch,
        Code::PreconditionRequired,
        Code::RateLimited,
        Code::Internal,
        Code::BadGateway,
        Code::Unavailable,
        Code::Timeout,
    ];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::InvalidRequest => "invalid_request",
            Code::UnknownField => "unknown_field",
            Code::ValidationFailed => "validation_failed",
            Code::Unauthenticated => "unauthenticated",
            Code::Forbidden => "forbidden",
            Code::NotFound => "not_found",
            Code::MethodNotAllowed => "method_not_allowed",
            Code::NotAcceptable => "not_acceptable",
            Code::Conflict => "conflict",
            Code::Gone => "gone",
            Code::PreconditionFailed => "precondition_failed",
            Code::PayloadTooLarge => "payload_too_large",
            Code::UnsupportedMediaType => "unsupported_media_type",
            Code::IdempotencyMismatch => "idempotency_mismatch",
            Code::PreconditionRequired => "precondition_required",
            Code::RateLimited => "rate_limited",
            Code::Internal => "internal",
            Code::BadGateway => "bad_gateway",
            Code::Unavailable => "unavailable",
            Code::Timeout => "timeout",
        }
    }

    /// The HTTP status.
    pub fn http_status(self) -> u16 {
        match self {
            Code::InvalidRequest => 400,
            Code::UnknownField => 400,
            Code::ValidationFailed => 400,
            Code::Unauthenticated => 401,
            Code::Forbidden => 403,
            Code::NotFound => 404,
            Code::MethodNotAllowed => 405,
            Code::NotAcceptable => 406,
            Code::Conflict => 409,
            Code::Gone => 410,
            Code::PreconditionFailed => 412,
            Code::PayloadTooLarge => 413,
            Code::UnsupportedMediaType => 415,
            Code::IdempotencyMismatch => 422,
            Code::PreconditionRequired => 428,
            Code::RateLimited => 429,
            Code::Internal => 500,
            Code::BadGateway => 502,
            Code::Unavailable => 503,
            Code::Timeout => 504,
        }
    }

    /// The number of the gRPC status code.
    pub fn grpc_code(self) -> i32 {
        match self {
            Code::InvalidRequest => 3,
            Code::UnknownField => 3,
            Code::ValidationFailed => 3,
            Code::Unauthenticated => 16,
            Code::Forbidden => 7,
            Code::NotFound => 5,
            Code::MethodNotAllowed => 12,
            Code::NotAcceptable => 3,
            Code::Conflict => 6,
            Code::Gone => 5,
            Code::PreconditionFailed => 9,
            Code::PayloadTooLarge => 11,
            Code::UnsupportedMediaType => 3,
            Code::IdempotencyMismatch => 9,
            Code::PreconditionRequired => 9,
            Code::RateLimited => 8,
            Code::Internal => 13,
            Code::BadGateway => 14,
            Code::Unavailable => 14,
            Code::Timeout => 4,
        }
    }

    /// The kind of error, for people.
    pub fn title(self) -> &'static str {
        match self {
            Code::InvalidRequest => "Invalid request",
            Code::UnknownField => "Unknown field",
            Code::ValidationFailed => "Validation failed",
            Code::Unauthenticated => "Not signed in",
            Code::Forbidden => "Not allowed",
            Code::NotFound => "Not found",
            Code::MethodNotAllowed => "Method not allowed",
            Code::NotAcceptable => "Not acceptable",
            Code::Conflict => "Conflict",
            Code::Gone => "Gone",
            Code::PreconditionFailed => "Precondition failed",
            Code::PayloadTooLarge => "Payload too large",
            Code::UnsupportedMediaType => "Unsupported media type",
            Code::IdempotencyMismatch => "Idempotency key reused",
            Code::PreconditionRequired => "Precondition required",
            Code::RateLimited => "Too many requests",
            Code::Internal => "Internal error",
            Code::BadGateway => "Bad gateway",
            Code::Unavailable => "Unavailable",
            Code::Timeout => "Timeout",
        }
    }

    /// When it is given, for docs and API descriptions.
    pub fn description(self) -> &'static str {
        match self {
            Code::InvalidRequest => "The request cannot be understood.",
            Code::UnknownField => "The body names a field that does not exist.",
            Code::ValidationFailed => "A field's value is not allowed.",
            Code::Unauthenticated => "Credentials are missing, wrong or expired.",
            Code::Forbidden => "The caller is known but may not do this.",
            Code::NotFound => "It does not exist, or the caller may not know of it.",
            Code::MethodNotAllowed => "The path exists, the method does not.",
            Code::NotAcceptable => "No representation fits the Accept header.",
            Code::Conflict => "The state of the resource does not allow it.",
            Code::Gone => "It was there and will not come back.",
            Code::PreconditionFailed => "The resource has changed since it was read.",
            Code::PayloadTooLarge => "The body is larger than is accepted here.",
            Code::UnsupportedMediaType => "The body's Content-Type is not accepted here.",
            Code::IdempotencyMismatch => "The key was used before with another body.",
            Code::PreconditionRequired => "This write needs an If-Match header.",
            Code::RateLimited => "A limit is used up; try again later.",
            Code::Internal => "A fault of the service itself.",
            Code::BadGateway => "The upstream service gave no usable answer.",
            Code::Unavailable => "The service, or one it cannot do without, is away; try again later.",
            Code::Timeout => "The deadline passed before there was an answer.",
        }
    }

    /// The code of that name.
    pub fn parse(name: &str) -> Option<Code> {
        Code::ALL.into_iter().find(|code| code.as_str() == name)
    }

    /// The code that fits an HTTP status of a server that does not send one.
    pub fn from_http_status(status: u16) -> Code {
        let exact = Code::ALL.into_iter().find(|code| code.http_status() == status);
        exact.unwrap_or(if status >= 500 { Code::Internal } else { Code::InvalidRequest })
    }
}
