use actix_web::{HttpResponse, web::Data};
use sker_runtime::{
    Standard,
    http::{Caller, HttpResult, answer},
};

use super::cases::Cases;
use crate::app::Stats;

/// Health of the store
#[utoipa::path(get, path = "/api/system/health", tag = "system", responses((status = 200), (status = 403)))]
pub(super) async fn health(caller: Caller, standard: Data<Standard>) -> HttpResult<HttpResponse> {
    caller.require_admin()?;
    Ok(answer::ok(&standard.health.report()))
}

/// How much there is of everything
#[utoipa::path(get, path = "/api/system/stats", tag = "system", responses((status = 200, body = Stats), (status = 403)))]
pub(super) async fn stats(cases: Cases, caller: Caller) -> HttpResult<HttpResponse> {
    let stats = cases.run(caller.ctx, |app, ctx| async move { app.stats(&ctx).await }).await?;
    Ok(answer::ok(&stats))
}
