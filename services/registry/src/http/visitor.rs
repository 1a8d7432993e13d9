use std::{
    future::{Ready, ready},
    ops::Deref,
};

use actix_web::{FromRequest, HttpRequest, dev::Payload, http::header, web::Data};
use sker_error::Error;
use sker_runtime::http::{HttpError, MaybeCaller};

use crate::app::{Directory, Scope};

/// A caller who was let in.
pub struct Visitor {
    scope: Scope,
    /// The use cases.
    pub directory: Data<Directory>,
}

impl Deref for Visitor {
    type Target = Scope;

    fn deref(&self) -> &Scope {
        &self.scope
    }
}

impl FromRequest for Visitor {
    type Error = HttpError;
    type Future = Ready<Result<Self, HttpError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let caller = MaybeCaller::from_request(request, payload).into_inner();
        ready(caller.and_then(|caller| {
            let directory = request
                .app_data::<Data<Directory>>()
                .ok_or_else(|| Error::internal("the server was started without its use cases"))?;
            let scope = directory.admit(&caller.ctx, is_local(request))?;
            Ok(Visitor { scope, directory: directory.clone() })
        }))
    }
}

/// Whether the call was made on this machine. A proxy here that speaks for somebody elsewhere says so in a header.
fn is_local(request: &HttpRequest) -> bool {
    let forwarded =
        [header::FORWARDED, header::X_FORWARDED_FOR].iter().any(|name| request.headers().contains_key(name));
    !forwarded && request.peer_addr().is_some_and(|peer| peer.ip().to_canonical().is_loopback())
}
