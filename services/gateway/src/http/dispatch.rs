//! What is done with each request, in this order: it is named and traced; refused when ambiguous; its path is brought into the
//! one form that everything after this looks at; it is answered here, or its caller is checked against its route and it is
//! sent on.

use std::{convert::Infallible, net::IpAddr, rc::Rc, sync::Arc};

use http::{
    HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header, request::Parts, uri::PathAndQuery,
};
use http_body::Body as _;
use hyper::body::Incoming;
use sker_error::{Code, Error, Result};
use sker_runtime::{REQUEST_ID, log_failure, problem_response, request_id};
use sker_telemetry::trace;
use tokio::time::Instant;
use tracing::{Instrument, Span, field::Empty};

use super::{
    access_log::Line,
    own::{self, Endpoint},
    worker::Worker,
};
use crate::{
    app::{
        forwarding::{self, Client, FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PROTO},
        headers,
        path::canonical,
        request,
        route::{Access, Methods},
        table::{Match, Route},
    },
    upstream::{Body, RequestBody},
};

const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static(REQUEST_ID);
const TRACEPARENT: HeaderName = HeaderName::from_static(trace::TRACEPARENT);

/// A request with what was found out about it.
pub struct Exchange {
    /// Its head. The path in it is the client's; use [`Exchange::path`].
    pub parts: Parts,
    /// Its body.
    pub body: Incoming,
    /// Its canonical path.
    pub path: String,
    /// Its name in logs and errors.
    pub request_id: Arc<str>,
    /// The other end of the connection.
    pub peer: IpAddr,
}

/// What a request led to, for metrics and logs.
#[derive(Default)]
enum Target {
    #[default]
    Nothing,
    Own(&'static str),
    Route(Arc<Route>),
}

impl Target {
    fn label(&self) -> &str {
        match self {
            Target::Nothing => "unmatched",
            Target::Own(label) => label,
            Target::Route(route) => &route.label,
        }
    }
}

/// Answers a request, whatever happens.
pub async fn handle(
    worker: Rc<Worker>,
    peer: IpAddr,
    request: Request<Incoming>,
) -> std::result::Result<Response<Body>, Infallible> {
    let began = Instant::now();
    let (parts, body) = request.into_parts();
    let id: Arc<str> = request_id(parts.headers.get(REQUEST_ID_HEADER).map(HeaderValue::as_bytes)).into();
    let (method, raw_path) = (parts.method.clone(), parts.uri.path().to_owned());
    let origin = parts.headers.get(header::ORIGIN).cloned();
    let span = span_of(&parts, &id);
    let mut target = Target::default();
    let answered = answer(&worker, peer, parts, body, &id, &mut target).instrument(span.clone()).await;
    let mut response = answered.unwrap_or_else(|Refusal { error, allow }| {
        span.in_scope(|| log_failure(&error));
        let mut response = problem_response(&error, &raw_path, &id).map(Body::full);
        if let Some(allow) = allow.and_then(|methods| HeaderValue::from_str(&methods.to_string()).ok()) {
            response.headers_mut().insert(header::ALLOW, allow);
        }
        response
    });
    finish(&worker, &mut response, &id, origin.as_ref());
    let now = Instant::now();
    let (status, route) = (response.status().as_u16(), target.label());
    worker.metrics.observe(&method, route, status, now - began);
    span.record("http.route", route);
    span.record("http.response.status_code", status);
    let duration_ms = (now - began).as_secs_f64() * 1_000.0;
    let line = Line { method: method.as_str(), path: &raw_path, route, status, duration_ms };
    span.in_scope(|| worker.log.write(now, line));
    Ok(response)
}

fn span_of(parts: &Parts, id: &str) -> Span {
    let span = tracing::info_span!(
        "http.request",
        otel.kind = "server",
        http.request.method = %parts.method,
        url.path = parts.uri.path(),
        http.route = Empty,
        http.response.status_code = Empty,
        request_id = id,
    );
    if let Some(parent) = parts.headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()) {
        trace::set_parent(&span, parent);
    }
    span
}

/// An error, and the methods that would have been taken.
struct Refusal {
    error: Error,
    allow: Option<Methods>,
}

impl Refusal {
    /// The path takes only these methods.
    fn method(methods: Methods) -> Self {
        let error = Error::new(Code::MethodNotAllowed, format!("this path takes only {methods}"));
        Refusal { error, allow: Some(methods) }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Refusal { error, allow: None }
    }
}

async fn answer(
    worker: &Rc<Worker>,
    peer: IpAddr,
    parts: Parts,
    body: Incoming,
    id: &Arc<str>,
    target: &mut Target,
) -> Result<Response<Body>, Refusal> {
    let config = &worker.gateway.config;
    request::check(&parts)?;
    let path = canonical(parts.uri.path()).map_err(|fault| Error::invalid_request(fault.to_string()))?.into_owned();
    if let Some(headers) = config.cors.preflight(&parts) {
        *target = Target::Own("preflight");
        let mut response = Response::new(Body::full(""));
        *response.status_mut() = StatusCode::NO_CONTENT;
        *response.headers_mut() = headers;
        return Ok(response);
    }
    let exchange = Exchange { parts, body, path, request_id: Arc::clone(id), peer };
    if let Some(endpoint) = Endpoint::find(&exchange.path) {
        *target = Target::Own(endpoint.label());
        let methods = endpoint.methods();
        if !Methods::index(&exchange.parts.method).is_some_and(|index| methods.contains(index)) {
            return Err(Refusal::method(methods));
        }
        return Ok(own::answer(worker, endpoint, exchange).await?);
    }
    let route = match find(worker, &exchange) {
        // Those of its own file are served without the registry as well.
        Ok(route) if worker.gateway.table().complete || route.owner.is_file() => route,
        _ => {
            worker.gateway.first_table().await;
            find(worker, &exchange)?
        }
    };
    *target = Target::Route(Arc::clone(&route));
    Ok(proxy(worker, &route, exchange).await?)
}

fn find(worker: &Worker, exchange: &Exchange) -> Result<Arc<Route>, Refusal> {
    let table = worker.gateway.table();
    match table.find(&exchange.parts.method, &exchange.path) {
        Match::Route(route) => Ok(Arc::clone(route)),
        Match::MethodNotAllowed(methods) => Err(Refusal::method(methods)),
        Match::Unserved => Err(Error::unavailable("no service serves this path now").into()),
        Match::Unknown => Err(Error::not_found("path").into()),
    }
}

async fn proxy(worker: &Rc<Worker>, route: &Route, exchange: Exchange) -> Result<Response<Body>> {
    authorise(worker, route.spec.access, &exchange.parts)?;
    if route.upstreams.is_empty() {
        return Err(Error::unavailable("no instance of the service is up now"));
    }
    let config = &worker.gateway.config;
    let Exchange { mut parts, body, path, request_id, peer } = exchange;
    let client = forwarding::client(&parts.headers, peer, request::host(&parts)?, &config.trusted_proxies);
    let limit = config.http.body_limit_bytes as u64;
    if body.size_hint().lower() > limit {
        return Err(Error::new(Code::PayloadTooLarge, format!("a body may have at most {limit} bytes")));
    }
    let websocket = headers::upgrade(&parts.headers).filter(|name| name.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let websocket = websocket.is_some() && parts.method == Method::GET && body.is_end_stream();
    let upgrade = parts.extensions.remove::<hyper::upgrade::OnUpgrade>().filter(|_| websocket);
    parts.uri = upstream_uri(&parts.uri, route.spec.rewrite(&path).as_deref().unwrap_or(&path))?;
    headers::clean_request(&mut parts.headers);
    let body = RequestBody::new(body, limit, config.body_idle);
    set_headers(&mut parts, &body, &client, &request_id);
    if upgrade.is_some() {
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    }
    let mut request = Request::new(body);
    *request.method_mut() = parts.method;
    *request.uri_mut() = parts.uri;
    *request.headers_mut() = parts.headers;
    worker.forward.send(route, request, upgrade).await
}

fn authorise(worker: &Worker, access: Access, parts: &Parts) -> Result<()> {
    if access == Access::None {
        return Ok(());
    }
    let claims = request::bearer(&parts.headers).map(|token| worker.gateway.keys.verify(token)).transpose()?;
    access.allow(claims.map(|claims| claims.principal()).as_ref())
}

fn set_headers(parts: &mut Parts, body: &RequestBody, client: &Client, request_id: &str) {
    let headers = &mut parts.headers;
    headers.insert(FORWARDED_FOR, client.forwarded_for.clone());
    headers.insert(FORWARDED_PROTO, client.proto.clone());
    headers.insert(FORWARDED_HOST, client.host.clone());
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID_HEADER, id);
    }
    // A malformed one from the client must not go on; without a trace of our own a good one may.
    let inherited = headers.remove(TRACEPARENT).filter(|value| value.to_str().is_ok_and(trace::is_valid));
    let own = trace::current_traceparent().and_then(|value| HeaderValue::from_str(&value).ok());
    if let Some(traceparent) = own.or(inherited) {
        headers.insert(TRACEPARENT, traceparent);
    }
    if !body.is_empty() && !headers.contains_key(header::CONTENT_LENGTH) {
        // Said outright, because hyper takes a GET without a length for one without a body.
        headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// The request's target for the upstream: path and query, in origin form.
fn upstream_uri(uri: &Uri, path: &str) -> Result<Uri> {
    if uri.path() == path {
        return Ok(Uri::from(uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"))));
    }
    let text = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let target = PathAndQuery::try_from(text);
    Ok(Uri::from(target.map_err(|cause| Error::invalid_request("the path cannot be sent on").with_cause(cause))?))
}

/// What every answer carries.
fn finish(worker: &Worker, response: &mut Response<Body>, id: &str, origin: Option<&HeaderValue>) {
    const SECURITY: [(HeaderName, HeaderValue); 3] = [
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID_HEADER, id);
    }
    for (name, value) in SECURITY {
        headers.entry(name).or_insert(value);
    }
    worker.gateway.config.cors.apply(origin, headers);
}
