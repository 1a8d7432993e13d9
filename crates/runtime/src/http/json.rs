use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    error::PayloadError,
    http::{Method, header},
    web::{BytesMut, Data},
};
use futures::{StreamExt, future::LocalBoxFuture};
use serde_json::Value;
use sker_error::{Code, Error, Result};

use super::{HttpError, HttpOptions};

/// The body as a JSON object. PATCH takes `application/merge-patch+json` (RFC 7396) beside `application/json`.
#[derive(Clone, Debug)]
pub struct JsonObject(pub Value);

impl FromRequest for JsonObject {
    type Error = HttpError;
    type Future = LocalBoxFuture<'static, Result<Self, HttpError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let read = read(request, payload);
        Box::pin(async move {
            let body = read.await?.ok_or_else(|| Error::invalid_request("the body must be a JSON object"))?;
            Ok(JsonObject(body))
        })
    }
}

/// The same where a body may be left out.
#[derive(Clone, Debug)]
pub struct OptionalJsonObject(pub Option<Value>);

impl FromRequest for OptionalJsonObject {
    type Error = HttpError;
    type Future = LocalBoxFuture<'static, Result<Self, HttpError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let read = read(request, payload);
        Box::pin(async move { Ok(OptionalJsonObject(read.await?)) })
    }
}

/// Reads the body; `None` when there is none.
fn read(
    request: &HttpRequest,
    payload: &mut Payload,
) -> impl Future<Output = Result<Option<Value>, HttpError>> + use<> {
    let limit =
        request.app_data::<Data<HttpOptions>>().map_or(HttpOptions::default().body_limit_bytes, |o| o.body_limit_bytes);
    let content = Content::of(request);
    let mut payload = payload.take();
    async move {
        if content.announced.is_some_and(|length| length > limit as u64) {
            return Err(too_large(limit).into());
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(unreadable)?;
            if body.len() + chunk.len() > limit {
                return Err(too_large(limit).into());
            }
            body.extend_from_slice(&chunk);
        }
        if body.is_empty() {
            return Ok(None);
        }
        // Only now: without a body its type does not matter.
        content.check()?;
        match serde_json::from_slice(&body) {
            Ok(value @ Value::Object(_)) => Ok(Some(value)),
            Ok(_) => Err(Error::invalid_request("the body must be a JSON object").into()),
            Err(fault) => Err(Error::invalid_request(format!("the body is not valid JSON: {fault}")).into()),
        }
    }
}

/// What the headers say of the body.
struct Content {
    announced: Option<u64>,
    media_type: Option<String>,
    encoded: bool,
    is_patch: bool,
}

impl Content {
    fn of(request: &HttpRequest) -> Self {
        let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        let media_type = text(header::CONTENT_TYPE).and_then(|value| value.split(';').next());
        Content {
            announced: text(header::CONTENT_LENGTH).and_then(|value| value.parse().ok()),
            media_type: media_type.map(|value| value.trim().to_ascii_lowercase()),
            encoded: text(header::CONTENT_ENCODING).is_some_and(|value| !value.eq_ignore_ascii_case("identity")),
            is_patch: request.method() == Method::PATCH,
        }
    }

    fn check(&self) -> Result<()> {
        let accepted = match self.media_type.as_deref() {
            Some("application/json") => true,
            Some("application/merge-patch+json") => self.is_patch,
            _ => false,
        };
        if !accepted {
            let patch = if self.is_patch { " or application/merge-patch+json" } else { "" };
            return Err(Error::new(
                Code::UnsupportedMediaType,
                format!("the body's Content-Type must be application/json{patch}"),
            ));
        }
        if self.encoded {
            return Err(Error::new(Code::UnsupportedMediaType, "the body must not have a Content-Encoding"));
        }
        Ok(())
    }
}

fn too_large(limit: usize) -> Error {
    Error::new(Code::PayloadTooLarge, format!("the body may have at most {limit} bytes"))
}

fn unreadable(error: PayloadError) -> Error {
    match error {
        PayloadError::Overflow => Error::new(Code::PayloadTooLarge, "the body is larger than is accepted here"),
        other => Error::invalid_request("the body could not be read to its end").with_cause(other.to_string()),
    }
}
