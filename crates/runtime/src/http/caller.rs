use std::{
    future::{Ready, ready},
    ops::Deref,
    time::Instant,
};

use actix_web::{FromRequest, HttpRequest, dev::Payload, http::header, web::Data};
use sker_api::{Ctx, DEFAULT_DEADLINE};
use sker_auth::{TokenKeys, bearer_token};
use sker_error::{Error, Result};
use sker_telemetry::trace;
use sker_types::{Principal, Uuid};

use super::{HttpError, RequestInfo};

/// The header that names a tenant.
const TENANT: &str = "x-tenant-id";

/// Whoever makes the request, by a Bearer token (RFC 6750). Without a good one the request is answered with 401.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Goes with every call of a use case.
    pub ctx: Ctx,
}

impl Caller {
    /// The signed-in user; `forbidden` for services.
    pub fn user_id(&self) -> Result<Uuid> {
        self.ctx.principal.user_id().ok_or_else(|| Error::forbidden("only users may do this"))
    }

    /// Refuses anyone but administrators.
    pub fn require_admin(&self) -> Result<()> {
        if self.ctx.principal.is_admin() { Ok(()) } else { Err(Error::forbidden("only administrators may do this")) }
    }
}

impl Deref for Caller {
    type Target = Ctx;

    fn deref(&self) -> &Ctx {
        &self.ctx
    }
}

impl FromRequest for Caller {
    type Error = HttpError;
    type Future = Ready<Result<Self, HttpError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let caller = principal(request).and_then(|principal| match principal {
            Some(principal) => Ok(Caller { ctx: ctx(request, principal)? }),
            None => Err(Error::unauthenticated("sign in: this needs an Authorization header with a Bearer token")),
        });
        ready(caller.map_err(HttpError))
    }
}

/// Whoever makes the request, signed in or not. A token that is not good is refused all the same.
#[derive(Clone, Debug)]
pub struct MaybeCaller {
    /// Goes with every call of a use case; its principal is anonymous without a token.
    pub ctx: Ctx,
}

impl Deref for MaybeCaller {
    type Target = Ctx;

    fn deref(&self) -> &Ctx {
        &self.ctx
    }
}

impl FromRequest for MaybeCaller {
    type Error = HttpError;
    type Future = Ready<Result<Self, HttpError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let caller = principal(request).and_then(|principal| {
            let principal = principal.unwrap_or_else(Principal::anonymous);
            Ok(MaybeCaller { ctx: ctx(request, principal)? })
        });
        ready(caller.map_err(HttpError))
    }
}

fn principal(request: &HttpRequest) -> Result<Option<Principal>> {
    let Some(header) = request.headers().get(header::AUTHORIZATION) else {
        return Ok(None);
    };
    let token = header.to_str().ok().and_then(bearer_token);
    let token = token.ok_or_else(|| Error::unauthenticated("the Authorization header must be a Bearer token"))?;
    let keys = request.app_data::<Data<TokenKeys>>();
    let keys = keys.ok_or_else(|| Error::internal("the HTTP server was started without token keys"))?;
    Ok(Some(keys.verify(token)?.principal()))
}

fn ctx(request: &HttpRequest, principal: Principal) -> Result<Ctx> {
    let info = RequestInfo::of(request);
    // Within a trace the next call is the child of this request's span, else of whatever the caller named.
    let traceparent = trace::current_traceparent().or_else(|| info.traceparent.as_deref().map(str::to_owned));
    Ok(Ctx {
        principal,
        tenant: tenant(request)?,
        request_id: info.request_id.to_string(),
        deadline: Some(Instant::now() + DEFAULT_DEADLINE),
        traceparent,
    })
}

fn tenant(request: &HttpRequest) -> Result<String> {
    let Some(header) = request.headers().get(TENANT) else {
        return Ok("default".to_owned());
    };
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    match header.to_str() {
        Ok(tenant) if (1..=64).contains(&tenant.len()) && tenant.as_bytes().iter().all(allowed) => {
            Ok(tenant.to_owned())
        }
        _ => Err(Error::invalid_request("X-Tenant-Id must be 1 to 64 letters, digits, dots, dashes or underscores")),
    }
}
