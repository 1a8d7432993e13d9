//! From a request to a WebSocket (RFC 6455, section 4.2).

use std::{rc::Rc, sync::Arc};

use http::{Request, Response};
use hyper::upgrade::OnUpgrade;
use sker_error::{Error, Result};
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;

use super::{Session, socket::run};
use crate::{
    app::request::bearer,
    http::{Exchange, Worker},
    upstream::Body,
};

/// Turns the request into a socket.
pub fn open(worker: &Rc<Worker>, exchange: Exchange) -> Result<Response<Body>> {
    let mut parts = exchange.parts;
    let token = bearer(&parts.headers).map(str::to_owned).or_else(|| query_token(parts.uri.query()));
    let session =
        token.map(|token| Session::begin(&worker.gateway, &token, Arc::clone(&exchange.request_id))).transpose()?;
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    let handshake = create_response_with_body(&Request::from_parts(parts, ()), || Body::full(""));
    let (Ok(response), Some(upgrade)) = (handshake, upgrade) else {
        return Err(Error::invalid_request("this is a WebSocket: ask for an upgrade as RFC 6455 says"));
    };
    let socket = run(Rc::clone(worker), upgrade, session, exchange.request_id);
    worker.tracker.spawn_local(socket);
    Ok(response)
}

/// The token in a query string, for clients that cannot set headers.
fn query_token(query: Option<&str>) -> Option<String> {
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query?).ok()?;
    pairs.into_iter().find(|(name, _)| name == "token").map(|(_, token)| token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_found_among_other_parameters() {
        assert_eq!(query_token(Some("a=1&token=x.y.z")).as_deref(), Some("x.y.z"));
        assert_eq!(query_token(Some("a=1")), None);
        assert_eq!(query_token(None), None);
    }
}
