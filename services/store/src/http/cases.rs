use std::{
    future::{Ready, ready},
    sync::Arc,
};

use actix_web::{FromRequest, HttpRequest, dev::Payload, web::Data};
use serde_json::Value;
use sker_api::Ctx;
use sker_error::{Error, Fields, Result};
use sker_runtime::{
    MainRuntime,
    http::{HttpError, HttpResult, IfMatch, if_match, path_id},
};
use sker_types::Uuid;

use crate::app::{App, Expected};

/// The use cases, run on the runtime that the database's connections live on.
pub(super) struct Cases {
    app: Arc<App>,
    main: Data<MainRuntime>,
}

impl Cases {
    /// Runs a use case under the caller's deadline.
    pub(super) async fn run<T, F, Fut>(&self, ctx: Ctx, case: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(Arc<App>, Ctx) -> Fut,
        Fut: Future<Output = Result<T>> + Send + 'static,
    {
        let limits = ctx.clone();
        let case = case(Arc::clone(&self.app), ctx);
        self.main.run(async move { limits.bound(case).await }).await
    }

    /// Runs a use case that needs to know of nobody.
    pub(super) async fn run_for_anybody<T, F, Fut>(&self, case: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(Arc<App>) -> Fut,
        Fut: Future<Output = Result<T>> + Send + 'static,
    {
        self.run(Ctx::new(sker_types::Principal::anonymous()), |app, _| case(app)).await
    }
}

impl FromRequest for Cases {
    type Error = HttpError;
    type Future = Ready<Result<Self, HttpError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let app = request.app_data::<Data<App>>().map(|app| app.clone().into_inner());
        let main = request.app_data::<Data<MainRuntime>>().cloned();
        let cases = app.zip(main).map(|(app, main)| Cases { app, main });
        ready(cases.ok_or_else(|| HttpError(Error::internal("the HTTP server was started without its use cases"))))
    }
}

/// What the request's `If-Match` allows.
pub(super) fn expected(request: &HttpRequest) -> Result<Expected> {
    let versions = if_match(request)?.as_ref().and_then(IfMatch::versions);
    Ok(versions.map_or(Expected::Any, Expected::OneOf))
}

/// The project in the path, where a resource has a flat and a nested path.
pub(super) fn nested_in(request: &HttpRequest) -> HttpResult<Option<Uuid>> {
    match request.match_info().get("project") {
        None => Ok(None),
        Some(_) => path_id(request, "project", "project").map(Some),
    }
}

/// The body of an action that has none: nothing or `{}`.
pub(super) fn nothing(body: Option<Value>) -> Result<()> {
    body.map_or(Ok(()), |body| Fields::new(body)?.finish())
}
