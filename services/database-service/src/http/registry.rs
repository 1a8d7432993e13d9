use actix_web::{HttpResponse, web::Data};
use serde_json::{Map, Value};
use sker_error::{Fields, Result};
use sker_runtime::{
    MainRuntime,
    http::{Caller, HttpResult, JsonObject, answer},
};

use super::State;
use crate::app::{RegistrationView, metadata_patch};

/// What is registered, and where the registration stands.
#[utoipa::path(get, path = "/api/database/registry/status", tag = "registration", responses((status = 200, body = RegistrationView)))]
pub async fn registration(_caller: Caller, state: Data<State>) -> HttpResult<HttpResponse> {
    Ok(answer::ok(&view(&state)))
}

/// Adds to the metadata in the registry, changes it, or removes (`null`) from it. Administrators only.
#[utoipa::path(
    post,
    path = "/api/database/registry/update",
    tag = "registration",
    request_body(content = Object, description = r#"{"metadata": {"region": "eu", "old": null}}"#),
    responses((status = 200, body = RegistrationView), (status = 400), (status = 403), (status = 503))
)]
pub async fn update(
    caller: Caller,
    body: JsonObject,
    state: Data<State>,
    main: Data<MainRuntime>,
) -> HttpResult<HttpResponse> {
    caller.require_admin()?;
    let patch = read_patch(body.0)?;
    let metadata = metadata_patch(registered_metadata(&state), patch)?;
    let registrar = state.registrar.clone();
    let text = Value::Object(metadata).to_string();
    main.run(async move { registrar.set_metadata(text).await }).await?;
    Ok(answer::ok(&view(&state)))
}

fn read_patch(body: Value) -> Result<Map<String, Value>> {
    let mut fields = Fields::new(body)?;
    let metadata = fields.object("metadata");
    let metadata = fields.require("metadata", metadata);
    fields.finish()?;
    Ok(metadata.unwrap_or_default())
}

fn registered_metadata(state: &State) -> Map<String, Value> {
    // Only objects are ever registered.
    serde_json::from_str(&state.registrar.state().instance.metadata_json).unwrap_or_default()
}

fn view(state: &State) -> RegistrationView {
    let registration = state.registrar.state();
    let id = registration.instance.instance_id.clone();
    RegistrationView {
        registered: registration.registered,
        instance_id: (!id.is_empty()).then_some(id),
        registrations: registration.registrations,
        last_error: registration.last_error.clone(),
        ..RegistrationView::new(&state.address, registered_metadata(state))
    }
}
