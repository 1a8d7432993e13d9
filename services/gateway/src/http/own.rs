//! The endpoints that the gateway answers itself.

use std::rc::Rc;

use http::{HeaderValue, Response, header};
use serde_json::{Value, json};
use sker_error::{Error, Result};

use super::{dispatch::Exchange, worker::Worker};
use crate::{
    app::{
        request::bearer,
        route::{Access, Methods},
        table::Route,
    },
    realtime,
    upstream::Body,
};

/// The gateway's own OpenAPI document.
const OPENAPI: &str = include_str!("openapi.json");

/// An endpoint of the gateway's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `/ws`
    Socket,
    /// `/api/v1/events`
    Events,
    /// `/api/v1/routes`
    Routes,
    /// `/openapi.json`
    OpenApi,
    /// What every service has.
    Standard(&'static str),
}

impl Endpoint {
    /// The endpoint at a canonical path.
    pub fn find(path: &str) -> Option<Endpoint> {
        Some(match path {
            "/ws" => Endpoint::Socket,
            "/api/v1/events" => Endpoint::Events,
            "/api/v1/routes" => Endpoint::Routes,
            "/openapi.json" => Endpoint::OpenApi,
            "/health" => Endpoint::Standard("/health"),
            "/ready" => Endpoint::Standard("/ready"),
            "/metrics" => Endpoint::Standard("/metrics"),
            "/docs" | "/api/docs" => Endpoint::Standard("/docs"),
            _ if path.starts_with("/docs/") || path.starts_with("/api/docs/") => Endpoint::Standard("/docs"),
            _ => return None,
        })
    }

    /// The methods that it takes.
    pub fn methods(self) -> Methods {
        match self {
            Endpoint::Socket | Endpoint::Events => Methods::GET,
            Endpoint::Routes | Endpoint::OpenApi | Endpoint::Standard(_) => Methods::READ,
        }
    }

    /// Its name in metrics and logs.
    pub fn label(self) -> &'static str {
        match self {
            Endpoint::Socket => "/ws",
            Endpoint::Events => "/api/v1/events",
            Endpoint::Routes => "/api/v1/routes",
            Endpoint::OpenApi => "/openapi.json",
            Endpoint::Standard(label) => label,
        }
    }
}

/// Answers a request to one of them, whose method it takes.
pub async fn answer(worker: &Rc<Worker>, endpoint: Endpoint, exchange: Exchange) -> Result<Response<Body>> {
    let method = &exchange.parts.method;
    if let Endpoint::Standard(_) = endpoint {
        let answer = worker.gateway.standard.answer(method, &exchange.path);
        return answer.map(|response| response.map(Body::full)).ok_or_else(|| Error::not_found("page"));
    }
    match endpoint {
        Endpoint::Socket => realtime::open_socket(worker, exchange),
        Endpoint::Events => realtime::open_stream(worker, exchange).await,
        Endpoint::Routes => routes(worker, &exchange),
        Endpoint::OpenApi | Endpoint::Standard(_) => {
            Ok(respond("application/json", Body::full(worker.gateway.document())))
        }
    }
}

/// The gateway's own document with its version.
pub fn openapi(version: &str) -> Value {
    // Compiled in and read by a test, so it is valid.
    let mut document: Value = serde_json::from_str(OPENAPI).unwrap_or_else(|_| json!({}));
    document["info"]["version"] = json!(version);
    document
}

fn respond(content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// `GET /api/v1/routes`: the routes in force and the claims that are not, for administrators.
fn routes(worker: &Worker, exchange: &Exchange) -> Result<Response<Body>> {
    let gateway = &worker.gateway;
    let claims = bearer(&exchange.parts.headers).map(|token| gateway.keys.verify(token)).transpose()?;
    Access::Admin.allow(claims.map(|claims| claims.principal()).as_ref())?;
    let table = gateway.table();
    let routes: Vec<Value> = table.routes.iter().map(|route| route_json(route)).collect();
    let body = json!({"routes": routes, "conflicts": table.conflicts, "complete": table.complete});
    Ok(respond("application/json", Body::full(body.to_string())))
}

fn route_json(route: &Route) -> Value {
    let instances: Vec<Value> = route
        .upstreams
        .iter()
        .map(|upstream| {
            json!({
                "instance_id": upstream.instance_id,
                "address": upstream.authority.to_str().unwrap_or_default(),
                "reachable": upstream.is_rested(),
            })
        })
        .collect();
    let spec = &route.spec;
    json!({
        "path": spec.pattern,
        "methods": route.methods,
        "group": route.owner.group,
        "service": route.owner.service,
        "auth": spec.access,
        "strip_prefix": spec.strip_prefix,
        "rewrite_prefix": spec.rewrite_prefix,
        "load_balancer": "round_robin",
        "timeout_ms": spec.timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)),
        "retries": spec.retries,
        "unapplied": spec.unapplied,
        "instances": instances,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::table::OWN;

    #[test]
    fn the_document_describes_every_endpoint_that_only_the_gateway_has() {
        let document = openapi("1.2.3");
        assert_eq!(document["info"]["version"], "1.2.3");
        for path in ["/ws", "/api/v1/events", "/api/v1/routes"] {
            assert!(document["paths"][path]["get"].is_object(), "{path}");
        }
    }

    #[test]
    fn what_nobody_may_claim_is_answered_here() {
        assert!(OWN.iter().all(|path| Endpoint::find(path).is_some()));
        assert_eq!(Endpoint::find("/docs/swagger-ui.css"), Some(Endpoint::Standard("/docs")));
        assert_eq!(Endpoint::find("/api/v1/projects"), None);
    }
}
