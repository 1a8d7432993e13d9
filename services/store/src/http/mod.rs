//! The REST interface: extract, call a use case, answer. One file per resource.

mod auth;
mod bodies;
mod cases;
mod connections;
mod nodes;
mod origin;
mod projects;
mod system;
mod tasks;
mod users;

use actix_web::web::{self, Data, ServiceConfig, delete, get, patch, post};
use serde_json::{Value, json};
use sker_runtime::http::HttpOptions;
use utoipa::{
    Modify, OpenApi,
    openapi::security::{Http, HttpAuthScheme, SecurityScheme},
};

pub(crate) use self::origin::TrustedProxies;
use crate::app::App;

/// Registers every path. One `web::resource` per path, so that a wrong method is answered with 405 and `Allow`.
pub(crate) fn configure(config: &mut ServiceConfig, app: &Data<App>, proxies: TrustedProxies, options: &HttpOptions) {
    // A batch may be as large as anything; everything else half as large.
    let smaller = HttpOptions { body_limit_bytes: options.body_limit_bytes / 2, ..options.clone() };
    config.app_data(app.clone()).app_data(Data::new(proxies));
    config.service(
        web::scope("/api/v1")
            .app_data(Data::new(smaller))
            .configure(accounts)
            .service(
                web::resource("/projects/{project}/nodes:batch")
                    .app_data(Data::new(options.clone()))
                    .route(post().to(nodes::batch)),
            )
            .configure(canvas)
            .configure(ai_tasks),
    );
    config.service(web::resource("/api/system/health").route(get().to(system::health)));
    config.service(web::resource("/api/system/stats").route(get().to(system::stats)));
}

fn accounts(config: &mut ServiceConfig) {
    config
        .service(web::resource("/auth/register").route(post().to(auth::register)))
        .service(web::resource("/auth/login").route(post().to(auth::login)))
        .service(web::resource("/auth/refresh").route(post().to(auth::refresh)))
        .service(web::resource("/auth/logout").route(post().to(auth::logout)))
        .service(web::resource("/auth/me").route(get().to(auth::me)))
        .service(web::resource("/users").route(get().to(users::list)))
        .service(web::resource("/users/{user}").route(get().to(users::get)).route(patch().to(users::update)));
}

fn canvas(config: &mut ServiceConfig) {
    config
        .service(web::resource("/projects").route(get().to(projects::list)).route(post().to(projects::create)))
        .service(
            web::resource("/projects/{project}")
                .route(get().to(projects::get))
                .route(patch().to(projects::update))
                .route(delete().to(projects::delete)),
        )
        .service(web::resource("/projects/{project}/canvas").route(get().to(projects::canvas)));
    for path in ["/nodes", "/projects/{project}/nodes"] {
        config.service(web::resource(path).route(get().to(nodes::list)).route(post().to(nodes::create)));
    }
    config
        .service(
            web::resource("/nodes/{node}")
                .route(get().to(nodes::get))
                .route(patch().to(nodes::update))
                .route(delete().to(nodes::delete)),
        )
        .service(web::resource("/nodes/{node}/versions").route(get().to(nodes::versions)));
    for path in ["/connections", "/projects/{project}/connections"] {
        let resource = web::resource(path).route(get().to(connections::list));
        config.service(resource.route(post().to(connections::create)));
    }
    config.service(
        web::resource("/connections/{connection}")
            .route(get().to(connections::get))
            .route(patch().to(connections::update))
            .route(delete().to(connections::delete)),
    );
}

fn ai_tasks(config: &mut ServiceConfig) {
    for path in ["/ai-tasks", "/projects/{project}/ai-tasks"] {
        config.service(web::resource(path).route(get().to(tasks::list)).route(post().to(tasks::create)));
    }
    config
        .service(
            web::resource("/ai-tasks/{task}")
                .route(get().to(tasks::get))
                .route(patch().to(tasks::update))
                .route(delete().to(tasks::delete)),
        )
        .service(web::resource("/ai-tasks/{task}/cancel").route(post().to(tasks::cancel)))
        .service(web::resource("/ai-tasks/{task}/retry").route(post().to(tasks::retry)));
}

/// What the gateway is to send here (CONTRACT.md, "Routes").
pub(crate) fn routes() -> Vec<Value> {
    let route = |path: &str, auth: &str| json!({"path": path, "auth": auth});
    vec![
        route("/api/v1/auth/*", "none"),
        route("/api/v1/auth/me", "user"),
        route("/api/v1/auth/logout", "user"),
        route("/api/v1/*", "user"),
        route("/api/system/*", "admin"),
    ]
}

/// The OpenAPI document.
#[derive(OpenApi)]
#[openapi(
    info(title = "SKER store", description = "Users, projects, nodes, connections and AI tasks."),
    paths(
        auth::register,
        auth::login,
        auth::refresh,
        auth::logout,
        auth::me,
        users::list,
        users::get,
        users::update,
        projects::list,
        projects::create,
        projects::get,
        projects::update,
        projects::delete,
        projects::canvas,
        nodes::list,
        nodes::create,
        nodes::batch,
        nodes::get,
        nodes::update,
        nodes::delete,
        nodes::versions,
        connections::list,
        connections::create,
        connections::get,
        connections::update,
        connections::delete,
        tasks::list,
        tasks::create,
        tasks::get,
        tasks::update,
        tasks::delete,
        tasks::cancel,
        tasks::retry,
        system::health,
        system::stats,
    ),
    modifiers(&BearerToken),
    security(("token" = [])),
    tags(
        (name = "auth", description = "Signing up, in and out"),
        (name = "users", description = "Accounts"),
        (name = "projects", description = "Projects and their canvases"),
        (name = "nodes", description = "Nodes of a canvas"),
        (name = "connections", description = "Edges of a canvas"),
        (name = "ai-tasks", description = "Work for AI engines"),
        (name = "system", description = "For administrators")
    )
)]
pub(crate) struct ApiDoc;

struct BearerToken;

impl Modify for BearerToken {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    }
}
