use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde::Serialize;
use sker_runtime::{
    MainRuntime,
    http::{HttpResult, answer},
};
use utoipa::ToSchema;

use super::{answer::ignoring, query::Parameters, visitor::Visitor};
use crate::app::{EventQuery, model::EventKind, view::EventView};

/// A part of the event log.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventList {
    events: Vec<EventView>,
    /// For the page of older ones.
    next_cursor: Option<String>,
}

/// List what happened, newest first
#[utoipa::path(
    get, path = "/api/v1/events", tag = "events",
    params(
        ("groupName" = Option<String>, Query), ("serviceName" = Option<String>, Query),
        ("instanceId" = Option<String>, Query), ("eventType" = Option<String>, Query),
        ("since" = Option<String>, Query, description = "RFC 3339"),
        ("until" = Option<String>, Query, description = "RFC 3339"),
        ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query),
    ),
    responses((status = 200, body = EventList))
)]
pub async fn list(visitor: Visitor, request: HttpRequest, main: Data<MainRuntime>) -> HttpResult<HttpResponse> {
    let mut parameters = Parameters::of(&request)?;
    let limit = parameters.limit(100);
    let query = EventQuery {
        group: parameters.text("groupName"),
        service: parameters.text("serviceName"),
        instance_id: parameters.text("instanceId"),
        kind: kind(&mut parameters),
        since: parameters.time("since"),
        until: parameters.time("until"),
        before: before(&mut parameters),
        limit: limit as u64,
        ..EventQuery::default()
    };
    let ignored = parameters.finish()?;
    let (directory, scope) = (Arc::clone(&visitor.directory), (*visitor).clone());
    let (events, next_cursor) = main.run(async move { directory.events(&scope, query).await }).await?;
    Ok(ignoring(answer::ok(&EventList { events, next_cursor }), &ignored))
}

fn kind(parameters: &mut Parameters) -> String {
    let text = parameters.text("eventType");
    match EventKind::parse(&text) {
        _ if text.is_empty() => text,
        Some(kind) => kind.as_str().to_owned(),
        None => {
            parameters.fault("eventType", "not_allowed", &format!("must be one of {}", EventKind::WORDS.join(", ")));
            String::new()
        }
    }
}

fn before(parameters: &mut Parameters) -> Option<u64> {
    let cursor = parameters.text("cursor");
    let revision = cursor.parse().ok();
    if revision.is_none() && !cursor.is_empty() {
        parameters.fault("cursor", "invalid", "must come from the page before");
    }
    revision
}
