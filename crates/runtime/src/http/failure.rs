use std::fmt;

use actix_web::{
    HttpResponse, ResponseError,
    body::{BodySize, BoxBody, MessageBody},
    dev::ServiceResponse,
    http::{
        StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
};
use sker_error::{Code, Error};

use super::HttpError;
use crate::problem::{log_failure, problem_headers, problem_response};

/// Turns whatever failed into problem+json: an [`HttpError`], an error of actix itself, or its bare 404 and 405.
pub(super) fn render(response: ServiceResponse<BoxBody>, request_id: &str) -> ServiceResponse<BoxBody> {
    if response.status().as_u16() < 400 {
        return response;
    }
    let foreign;
    let error = match response.response().error() {
        Some(error) => match error.as_error::<HttpError>() {
            Some(HttpError(error)) => error,
            None => {
                foreign = from_actix(response.status(), error.to_string());
                &foreign
            }
        },
        None if is_bare(&response) => {
            foreign = from_status(response.status());
            &foreign
        }
        None => return response,
    };
    log_failure(error);
    let problem = problem_response(error, response.request().path(), request_id);
    let status = StatusCode::from_u16(error.code().http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = problem_headers(error);
    let (request, old) = response.into_parts();
    // The headers that came with it stay: Allow is one of them.
    let mut new = old.set_body(BoxBody::new(problem.into_body()));
    *new.status_mut() = status;
    new.headers_mut().remove(header::CONTENT_LENGTH);
    insert_all(new.headers_mut(), &headers);
    ServiceResponse::new(request, new)
}

fn is_bare(response: &ServiceResponse<BoxBody>) -> bool {
    matches!(response.response().body().size(), BodySize::None | BodySize::Sized(0))
        && !response.headers().contains_key(header::CONTENT_TYPE)
}

fn from_status(status: StatusCode) -> Error {
    let code = Code::from_http_status(status.as_u16());
    let message = match code {
        Code::NotFound => "nothing is served at this path",
        Code::MethodNotAllowed => "this path does not have this method",
        other => other.description(),
    };
    Error::new(code, message)
}

/// An extractor of actix refused the request, or something broke inside.
fn from_actix(status: StatusCode, message: String) -> Error {
    match Code::from_http_status(status.as_u16()) {
        Code::Internal => Error::internal(message),
        // What a path segment would not parse as is nothing that exists.
        Code::NotFound => from_status(status),
        Code::PayloadTooLarge => Error::new(Code::PayloadTooLarge, "the body is larger than is accepted here"),
        // What went wrong inside is for the log.
        code if code.http_status() >= 500 => Error::new(code, code.description()).with_cause(message),
        code => Error::new(code, message),
    }
}

/// A complete answer for what has no request any more: a handler that panicked, a middleware that failed.
#[derive(Debug)]
pub(super) struct Failure {
    error: Error,
    path: String,
    request_id: String,
}

impl Failure {
    pub(super) fn new(error: Error, path: String, request_id: String) -> Self {
        log_failure(&error);
        Failure { error, path, request_id }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(formatter)
    }
}

impl ResponseError for Failure {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.error.code().http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let problem = problem_response(&self.error, &self.path, &self.request_id);
        let headers = problem.headers().clone();
        let mut response = HttpResponse::new(self.status_code()).set_body(BoxBody::new(problem.into_body()));
        insert_all(response.headers_mut(), &headers);
        if let Ok(id) = HeaderValue::from_str(&self.request_id) {
            response.headers_mut().insert(HeaderName::from_static(crate::REQUEST_ID), id);
        }
        response
    }
}

/// actix has header types of its own.
pub(super) fn insert_all(into: &mut HeaderMap, headers: &http::HeaderMap) {
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_str().as_bytes());
        let value = HeaderValue::from_bytes(value.as_bytes());
        if let (Ok(name), Ok(value)) = (name, value) {
            into.insert(name, value);
        }
    }
}
