//! What administrators see over HTTP.

use actix_web::{
    HttpResponse,
    web::{self, Data, ServiceConfig},
};
use serde::Serialize;
use sker_runtime::http::{Caller, HttpResult, answer};
use utoipa::{OpenApi, ToSchema};

use crate::app::{Overview, QueueView, RunningView, WorkerView};

/// The queues.
#[derive(Serialize, ToSchema)]
struct Queues {
    queues: Vec<QueueView>,
}

/// The workers of this replica.
#[derive(Serialize, ToSchema)]
struct Workers {
    workers: Vec<WorkerView>,
}

/// The tasks that this replica is running.
#[derive(Serialize, ToSchema)]
struct Tasks {
    tasks: Vec<RunningView>,
}

#[derive(OpenApi)]
#[openapi(
    info(title = "SKER broker", description = "Queues, workers and running AI tasks, for administrators."),
    paths(queues, workers, tasks)
)]
struct Description;

/// The service's OpenAPI document.
pub fn openapi() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

/// Registers every path.
pub fn configure(overview: Overview) -> impl Fn(&mut ServiceConfig) + Clone + Send + 'static {
    let overview = Data::new(overview);
    move |config| {
        config
            .app_data(overview.clone())
            .service(web::resource("/api/v1/broker/queues").route(web::get().to(queues)))
            .service(web::resource("/api/v1/broker/workers").route(web::get().to(workers)))
            .service(web::resource("/api/v1/broker/tasks").route(web::get().to(tasks)));
    }
}

/// Show the queues and how much waits in them
#[utoipa::path(get, path = "/api/v1/broker/queues", tag = "broker", responses((status = 200, body = Queues)))]
async fn queues(caller: Caller, overview: Data<Overview>) -> HttpResult<HttpResponse> {
    caller.require_admin()?;
    Ok(answer::ok(&Queues { queues: overview.queues().await }))
}

/// Show the workers of this replica
#[utoipa::path(get, path = "/api/v1/broker/workers", tag = "broker", responses((status = 200, body = Workers)))]
async fn workers(caller: Caller, overview: Data<Overview>) -> HttpResult<HttpResponse> {
    caller.require_admin()?;
    Ok(answer::ok(&Workers { workers: overview.workers() }))
}

/// Show the tasks that this replica is running
#[utoipa::path(get, path = "/api/v1/broker/tasks", tag = "broker", responses((status = 200, body = Tasks)))]
async fn tasks(caller: Caller, overview: Data<Overview>) -> HttpResult<HttpResponse> {
    caller.require_admin()?;
    Ok(answer::ok(&Tasks { tasks: overview.tasks() }))
}
