//! The seed's REST interface: extract, call a use case, answer.

mod answer;
mod discovery;
mod events;
mod groups;
mod instances;
mod query;
mod services;
mod stats;
mod visitor;

use actix_web::web::{self, Data, ServiceConfig};
use utoipa::OpenApi;

use crate::app::Directory;

/// Registers every path. One `web::resource` per path, so that a wrong method is answered with 405 and `Allow`.
pub fn configure(config: &mut ServiceConfig, directory: &Data<Directory>) {
    config.app_data(directory.clone()).service(
        web::scope("/api/v1")
            .service(web::resource("/instances").route(web::post().to(instances::register)))
            .service(web::resource("/instances/heartbeats").route(web::post().to(instances::heartbeats)))
            .service(
                web::resource("/instances/{instanceId}")
                    .route(web::get().to(instances::get))
                    .route(web::delete().to(instances::deregister)),
            )
            .service(web::resource("/instances/{instanceId}/heartbeat").route(web::put().to(instances::heartbeat)))
            .service(web::resource("/instances/{instanceId}/health").route(web::put().to(instances::set_health)))
            .service(
                web::resource("/instances/{instanceId}/status")
                    .route(web::put().to(instances::override_status))
                    .route(web::delete().to(instances::lift_override)),
            )
            .service(
                web::resource("/services").route(web::get().to(services::list)).route(web::post().to(services::create)),
            )
            .service(
                web::resource("/services/{serviceName}")
                    .route(web::get().to(services::get))
                    .route(web::put().to(services::update))
                    .route(web::delete().to(services::delete)),
            )
            .service(web::resource("/services/{serviceName}/instances").route(web::get().to(discovery::discover)))
            .service(web::resource("/groups").route(web::get().to(groups::list)).route(web::post().to(groups::create)))
            .service(
                web::resource("/groups/{groupName}")
                    .route(web::get().to(groups::get))
                    .route(web::put().to(groups::update))
                    .route(web::delete().to(groups::delete)),
            )
            .service(web::resource("/groups/{groupName}/services").route(web::get().to(groups::services)))
            .service(web::resource("/stats").route(web::get().to(stats::all)))
            .service(web::resource("/stats/instances").route(web::get().to(stats::instances)))
            .service(web::resource("/stats/health").route(web::get().to(stats::health)))
            .service(web::resource("/events").route(web::get().to(events::list))),
    );
}

/// The OpenAPI document.
#[derive(OpenApi)]
#[openapi(
    info(title = "SKER registry", description = "Registration and discovery of service instances."),
    paths(
        instances::register,
        instances::get,
        instances::heartbeat,
        instances::heartbeats,
        instances::set_health,
        instances::override_status,
        instances::lift_override,
        instances::deregister,
        discovery::discover,
        services::list,
        services::create,
        services::get,
        services::update,
        services::delete,
        groups::list,
        groups::create,
        groups::get,
        groups::update,
        groups::delete,
        groups::services,
        stats::all,
        stats::instances,
        stats::health,
        events::list,
    ),
    tags(
        (name = "instances", description = "Registering, staying alive, leaving"),
        (name = "discovery", description = "Finding instances"),
        (name = "services", description = "What is said about services"),
        (name = "groups", description = "Groups of services and who may use them"),
        (name = "stats", description = "Numbers"),
        (name = "events", description = "What happened")
    )
)]
pub struct ApiDoc;
