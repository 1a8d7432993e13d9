//! Which web pages may use the platform from a browser (the Fetch standard's CORS protocol).

use http::{HeaderMap, HeaderValue, Method, header, request::Parts};

/// Headers that pages may read from an answer.
const EXPOSED: &str =
    "etag, link, location, retry-after, x-request-id, ratelimit-limit, ratelimit-remaining, ratelimit-reset";

/// The origins that may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cors {
    /// Every page. Tokens are sent by scripts, never by the browser on its own, so nothing leaks to a page without one.
    Open,
    /// These pages, by origin; none when the list is empty.
    Only(Vec<String>),
}

impl Cors {
    /// The value of `Access-Control-Allow-Origin` for a page; `None` when it may not.
    fn allow(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        match self {
            Cors::Open => Some(HeaderValue::from_static("*")),
            Cors::Only(list) => {
                let known = list.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes());
                known.then(|| origin.clone())
            }
        }
    }

    /// The headers of the answer to a preflight request; `None` when the request is none.
    pub fn preflight(&self, parts: &Parts) -> Option<HeaderMap> {
        let origin = parts.headers.get(header::ORIGIN)?;
        let method = parts.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
        if parts.method != Method::OPTIONS {
            return None;
        }
        let mut headers = HeaderMap::new();
        if let Some(allowed) = self.allow(origin) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, method.clone());
            if let Some(names) = parts.headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
                headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
            }
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        }
        headers.insert(
            header::VARY,
            HeaderValue::from_static("origin, access-control-request-method, access-control-request-headers"),
        );
        Some(headers)
    }

    /// Adds to an answer what lets the page read it. What an upstream says about origins does not count.
    pub fn apply(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        let named = headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        if named {
            headers.remove(header::ACCESS_CONTROL_ALLOW_ORIGIN);
            headers.remove(header::ACCESS_CONTROL_ALLOW_CREDENTIALS);
            headers.remove(header::ACCESS_CONTROL_EXPOSE_HEADERS);
        }
        if let Some(allowed) = origin.and_then(|origin| self.allow(origin)) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        }
        if matches!(self, Cors::Only(list) if !list.is_empty()) {
            headers.append(header::VARY, HeaderValue::from_static("origin"));
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn preflight(cors: &Cors, origin: &str) -> Option<HeaderMap> {
        let request = Request::options("/")
            .header("origin", origin)
            .header("access-control-request-method", "PATCH")
            .header("access-control-request-headers", "authorization, if-match");
        cors.preflight(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn an_open_gateway_lets_every_page_in() {
        let headers = preflight(&Cors::Open, "https://anyone.example").unwrap();
        assert_eq!(headers["access-control-allow-origin"], "*");
        assert_eq!(headers["access-control-allow-methods"], "PATCH");
        assert_eq!(headers["access-control-allow-headers"], "authorization, if-match");
    }

    #[test]
    fn a_closed_gateway_lets_in_whom_it_knows() {
        let cors = Cors::Only(vec!["https://app.example".into()]);
        assert_eq!(
            preflight(&cors, "https://app.example").unwrap()["access-control-allow-origin"],
            "https://app.example"
        );
        let stranger = preflight(&cors, "https://app.example.evil").unwrap();
        assert!(!stranger.contains_key("access-control-allow-origin"));
    }

    #[test]
    fn an_upstream_cannot_open_what_is_closed() {
        let mut headers = HeaderMap::new();
        headers.insert("access-control-allow-origin", HeaderValue::from_static("*"));
        headers.insert("access-control-allow-credentials", HeaderValue::from_static("true"));
        Cors::Only(vec![]).apply(Some(&HeaderValue::from_static("https://x.example")), &mut headers);
        assert!(headers.is_empty());
    }

    #[test]
    fn an_ordinary_options_request_is_no_preflight() {
        let request = Request::options("/").header("origin", "https://a.example").body(()).unwrap();
        assert!(Cors::Open.preflight(&request.into_parts().0).is_none());
    }
}
