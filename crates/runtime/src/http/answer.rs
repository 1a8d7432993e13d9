//! Answers of handlers.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, HeaderValue},
};
use serde::Serialize;
use sker_error::Result;
use sker_types::Page;

use super::{etag, is_not_modified};

/// 200 with a body.
pub fn ok(body: &(impl Serialize + ?Sized)) -> HttpResponse {
    HttpResponse::Ok().json(body)
}

/// 201 with the new resource and where it stands.
pub fn created(location: &str, body: &(impl Serialize + ?Sized)) -> HttpResponse {
    HttpResponse::Created().insert_header((header::LOCATION, location)).json(body)
}

/// 204.
pub fn no_content() -> HttpResponse {
    HttpResponse::NoContent().finish()
}

/// Adds the ETag of a row version.
pub fn with_version(mut response: HttpResponse, version: i64) -> HttpResponse {
    if let Ok(tag) = HeaderValue::from_str(&etag(version)) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// 200 with one resource and its ETag, or 304 when the client has this version already.
pub fn resource(request: &HttpRequest, version: i64, body: &(impl Serialize + ?Sized)) -> Result<HttpResponse> {
    let response = if is_not_modified(request, version)? { HttpResponse::NotModified().finish() } else { ok(body) };
    Ok(with_version(response, version))
}

/// 200 with one page of a list, and a `Link` (RFC 8288) to the next one.
pub fn page<T: Serialize>(request: &HttpRequest, page: &Page<T>) -> HttpResponse {
    let mut response = ok(page);
    let link = page.next_cursor.as_deref().and_then(|cursor| next_link(request, cursor));
    if let Some(link) = link {
        response.headers_mut().insert(header::LINK, link);
    }
    response
}

fn next_link(request: &HttpRequest, cursor: &str) -> Option<HeaderValue> {
    let mut parameters: Vec<(String, String)> = serde_urlencoded::from_str(request.query_string()).ok()?;
    parameters.retain(|(name, _)| name != "cursor");
    parameters.push(("cursor".to_owned(), cursor.to_owned()));
    let query = serde_urlencoded::to_string(parameters).ok()?;
    HeaderValue::from_str(&format!("<{}?{query}>; rel=\"next\"", request.path())).ok()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn the_link_to_the_next_page_keeps_the_other_parameters() {
        let request = TestRequest::with_uri("/api/v1/nodes?limit=2&cursor=old&q=a%26b").to_http_request();
        let answer = page(&request, &Page { data: vec![1, 2], next_cursor: Some("n+1".to_owned()) });
        let link = answer.headers().get(header::LINK).unwrap().to_str().unwrap();
        assert_eq!(link, "</api/v1/nodes?limit=2&q=a%26b&cursor=n%2B1>; rel=\"next\"");
        let last = page(&request, &Page::<i32> { data: vec![], next_cursor: None });
        assert!(last.headers().get(header::LINK).is_none());
    }

    #[test]
    fn a_client_that_has_the_version_is_sent_no_body() {
        let fresh = TestRequest::default().insert_header(("If-None-Match", "\"3\"")).to_http_request();
        let answer = resource(&fresh, 3, &1).unwrap();
        assert_eq!(
            (answer.status().as_u16(), answer.headers().get(header::ETAG).unwrap().as_bytes()),
            (304, &b"\"3\""[..])
        );
        assert_eq!(resource(&fresh, 4, &1).unwrap().status().as_u16(), 200);
    }
}
