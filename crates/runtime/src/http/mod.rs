//! The HTTP server of the actix services: one boundary around every request, extractors, and helpers for answers.
//!
//! A handler extracts, calls a use case, and answers; `?` on a [`sker_error::Error`] is all there is to failing:
//!
//! ```
//! use actix_web::{HttpRequest, HttpResponse, web};
//! use sker_runtime::http::{Caller, HttpResult, JsonObject, answer};
//!
//! async fn create(caller: Caller, body: JsonObject) -> HttpResult<HttpResponse> {
//!     let id = caller.user_id()?;
//!     Ok(answer::created(&format!("/api/v1/things/{id}"), &body.0))
//! }
//!
//! fn configure(config: &mut web::ServiceConfig) {
//!     config.service(web::resource("/api/v1/things").route(web::post().to(create)));
//! }
//! # let _ = configure;
//! ```
//!
//! Register every path as one `web::resource` with all its methods, so that a wrong method is answered with 405 and `Allow`.

pub mod answer;
mod boundary;
mod caller;
mod conditional;
mod error;
mod failure;
mod json;
mod measure;
mod server;
mod standard;
mod streams;

pub use boundary::RequestInfo;
pub use caller::{Caller, MaybeCaller};
pub use conditional::{IfMatch, etag, if_match, is_not_modified};
pub use error::{HttpError, HttpResult};
pub use json::{JsonObject, OptionalJsonObject};
pub use server::{HttpOptions, serve};

use actix_web::HttpRequest;
use sker_error::{Error, Result};
use sker_types::{Uuid, parse_id};

use crate::QueryFields;

/// The id in a path segment; `not_found` when it is none, since no resource can have that URL. `what` is a noun.
///
/// # Panics
/// When the route has no such segment.
pub fn path_id(request: &HttpRequest, segment: &str, what: &str) -> HttpResult<Uuid> {
    let text = request.match_info().get(segment).expect("the handler's route has this segment");
    Ok(parse_id(text).ok_or_else(|| Error::not_found(what))?)
}

/// The parameters of the request's query string.
pub fn query(request: &HttpRequest) -> Result<QueryFields> {
    QueryFields::parse(request.query_string())
}
