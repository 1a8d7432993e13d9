use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{self, Data},
};

use super::failure::insert_all;
use crate::Standard;

/// Mounts the standard answers.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    for route in Standard::ROUTES {
        config.service(web::resource(route).to(answer));
    }
}

async fn answer(request: HttpRequest, standard: Data<Standard>) -> HttpResponse {
    let method = http::Method::from_bytes(request.method().as_str().as_bytes()).unwrap_or_default();
    let Some(found) = standard.answer(&method, request.path()) else {
        return HttpResponse::new(StatusCode::NOT_FOUND);
    };
    let status = StatusCode::from_u16(found.status().as_u16()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::new(status);
    insert_all(response.headers_mut(), found.headers());
    if status == StatusCode::METHOD_NOT_ALLOWED {
        // The boundary writes the problem, with the request's id.
        response.headers_mut().remove(actix_web::http::header::CONTENT_TYPE);
        return response;
    }
    response.set_body(actix_web::body::BoxBody::new(found.into_body()))
}
