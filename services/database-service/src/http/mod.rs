//! The HTTP interface: extract, call a use case, answer.

mod connections;
mod info;
mod registry;
mod status;

use std::sync::Arc;

use actix_web::{
    HttpRequest,
    web::{self, Data, ServiceConfig},
};
use serde_json::Value;
use sker_client::Registrar;
use sker_error::Error;
use sker_runtime::http::HttpResult;
use utoipa::OpenApi;

use crate::app::{Kind, Monitor, ServiceAddress};

/// What the handlers work with.
pub struct State {
    /// The targets.
    pub monitor: Arc<Monitor>,
    /// The registration.
    pub registrar: Registrar,
    /// Where this service is.
    pub address: ServiceAddress,
    /// The configuration, as it is shown.
    pub config: Value,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "SKER database-service",
        description = "Health of databases: status, history, alerts, connection tests."
    ),
    paths(
        info::service_info,
        info::config,
        status::health,
        status::status,
        status::kind_status,
        status::metrics,
        status::history,
        status::alerts,
        connections::connections,
        connections::test,
        registry::registration,
        registry::update,
    )
)]
struct Description;

/// The service's OpenAPI document.
pub fn openapi() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

/// Registers every path.
pub fn configure(state: State) -> impl Fn(&mut ServiceConfig) + Clone + Send + 'static {
    let state = Data::new(state);
    move |config| {
        config.app_data(state.clone());
        for (path, get) in [
            ("/", web::get().to(info::service_info)),
            ("/api/database/health", web::get().to(status::health)),
            ("/api/database/status", web::get().to(status::status)),
            ("/api/database/status/{type}", web::get().to(status::kind_status)),
            ("/api/database/metrics", web::get().to(status::metrics)),
            ("/api/database/history/{type}", web::get().to(status::history)),
            ("/api/database/alerts", web::get().to(status::alerts)),
            ("/api/database/config", web::get().to(info::config)),
            ("/api/database/connections", web::get().to(connections::connections)),
            ("/api/database/registry/status", web::get().to(registry::registration)),
            ("/api/database/connections/test/{type}", web::post().to(connections::test)),
            ("/api/database/registry/update", web::post().to(registry::update)),
        ] {
            config.service(web::resource(path).route(get));
        }
    }
}

/// The kind of database in the path.
fn kind_of(request: &HttpRequest) -> HttpResult<Kind> {
    let name = request.match_info().get("type").unwrap_or_default();
    Ok(Kind::parse(name).ok_or_else(|| Error::not_found("database type"))?)
}
