use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sker_auth::{ServiceTokens, TokenKeys};
use sker_error::{Error, Result};
use sker_types::{Principal, new_id};
use tonic::{Request, metadata::MetadataMap};

use crate::Ctx;

/// How much of the deadline is left (gRPC over HTTP/2, "Requests").
pub(super) const GRPC_TIMEOUT: &str = "grpc-timeout";
const PRINCIPAL: &str = "x-sker-principal";
const TENANT: &str = "x-tenant-id";
const REQUEST_ID: &str = "x-request-id";
const TRACEPARENT: &str = "traceparent";

/// Signs a client's calls with its service's token.
#[derive(Clone)]
pub struct ClientAuth {
    tokens: Arc<ServiceTokens>,
}

impl ClientAuth {
    /// Calls in the name of the service that the tokens are for.
    pub fn new(tokens: Arc<ServiceTokens>) -> Self {
        ClientAuth { tokens }
    }

    /// A request that carries the context.
    pub(crate) fn request<T>(&self, ctx: &Ctx, message: T) -> Result<Request<T>> {
        let mut request = Request::new(message);
        if let Some(left) = ctx.remaining() {
            if left.is_zero() {
                return Err(Error::timeout("the deadline passed before the call was made"));
            }
            request.set_timeout(left);
        }
        let metadata = request.metadata_mut();
        let principal = serde_json::to_string(&ctx.principal).map_err(Error::internal)?;
        insert(metadata, "authorization", &format!("Bearer {}", self.tokens.token()?))?;
        insert(metadata, PRINCIPAL, &principal)?;
        insert(metadata, TENANT, &ctx.tenant)?;
        insert(metadata, REQUEST_ID, &ctx.request_id)?;
        if let Some(traceparent) = sker_telemetry::trace::current_traceparent().or_else(|| ctx.traceparent.clone()) {
            insert(metadata, TRACEPARENT, &traceparent)?;
        }
        Ok(request)
    }
}

fn insert(metadata: &mut MetadataMap, name: &'static str, value: &str) -> Result<()> {
    let value =
        value.parse().map_err(|error| Error::invalid_request(format!("{name} must be ASCII")).with_cause(error))?;
    metadata.insert(name, value);
    Ok(())
}

/// The context of a call that arrived. Only service-role callers are let in.
pub(crate) fn admit(keys: &TokenKeys, metadata: &MetadataMap) -> Result<Ctx> {
    let text = |name: &str| metadata.get(name).and_then(|value| value.to_str().ok());
    let token = text("authorization")
        .and_then(|value| value.strip_prefix("Bearer "))
        .ok_or_else(|| Error::unauthenticated("a service token is required"))?;
    let caller = keys.verify(token)?.principal();
    if !caller.is_service() {
        return Err(Error::forbidden("only services of the platform may call this"));
    }
    let principal = match text(PRINCIPAL) {
        None => caller,
        Some(json) => serde_json::from_str::<Principal>(json)
            .map_err(|error| Error::invalid_request(format!("{PRINCIPAL} is malformed")).with_cause(error))?,
    };
    Ok(Ctx {
        principal,
        tenant: text(TENANT).unwrap_or("default").to_owned(),
        request_id: text(REQUEST_ID).map_or_else(|| new_id().to_string(), str::to_owned),
        deadline: text(GRPC_TIMEOUT).and_then(parse_timeout).map(|left| Instant::now() + left),
        traceparent: text(TRACEPARENT).map(str::to_owned),
    })
}

/// Reads a `grpc-timeout` value: at most eight digits and a unit (gRPC over HTTP/2, "Requests").
fn parse_timeout(text: &str) -> Option<Duration> {
    let digits = text.get(..text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match text.as_bytes().last()? {
        b'H' => Some(Duration::from_secs(amount * 3600)),
        b'M' => Some(Duration::from_secs(amount * 60)),
        b'S' => Some(Duration::from_secs(amount)),
        b'm' => Some(Duration::from_millis(amount)),
        b'u' => Some(Duration::from_micros(amount)),
        b'n' => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_the_protocol_says() {
        assert_eq!(parse_timeout("100m"), Some(Duration::from_millis(100)));
        assert_eq!(parse_timeout("2S"), Some(Duration::from_secs(2)));
        for bad in ["", "S", "-1S", "123456789S", "1x", "é"] {
            assert_eq!(parse_timeout(bad), None, "{bad}");
        }
    }
}
