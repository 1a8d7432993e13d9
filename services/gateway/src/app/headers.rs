//! Which headers and trailers go further and which do not.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Headers of one connection, not of the message (RFC 9110 section 7.6.1). `TE` and `Upgrade` are dealt with apart.
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHORIZATION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// What begins like this is said between services of the platform and never by a client.
const INTERNAL_PREFIX: &str = "x-sker-";

/// Headers that the gateway sets itself, or that say who a client is: nobody may smuggle them in, spelt in whatever way.
const GUARDED: [&str; 8] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-real-ip",
    "x-request-id",
];

/// Trailer fields may not change how a message is framed, routed or authorised (RFC 9110 section 6.5.1).
const NEVER_A_TRAILER: [&str; 16] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "host",
    "keep-alive",
    "proxy-authorization",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-api-key",
];

/// Makes a client's headers fit for an upstream. Whatever is guarded goes too; the caller sets it anew.
pub fn clean_request(headers: &mut HeaderMap) {
    let trailers_wanted = wants_trailers(headers);
    clean(headers);
    // The gateway answers `100 Continue` itself when it begins to read.
    headers.remove(header::EXPECT);
    headers.remove(header::TE);
    if trailers_wanted {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    remove_where(headers, is_guarded);
    join_cookies(headers);
}

/// HTTP/2 lets a client split `Cookie` into several fields, HTTP/1.1 does not (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(header::COOKIE).iter().nth(1).is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(whole) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(header::COOKIE, whole);
    }
}

/// Makes an upstream's headers fit for a client.
pub fn clean_response(headers: &mut HeaderMap) {
    clean(headers);
    headers.remove(header::PROXY_AUTHENTICATE);
    remove_where(headers, is_internal);
}

/// Takes out the trailer fields that must not be any.
pub fn clean_trailers(trailers: &mut HeaderMap) {
    remove_where(trailers, |name| NEVER_A_TRAILER.contains(&name) || is_guarded(name));
}

/// Whether the client takes trailers.
pub fn wants_trailers(headers: &HeaderMap) -> bool {
    list(headers, &header::TE).any(|coding| coding.eq_ignore_ascii_case("trailers"))
}

/// The protocol that the client wants to go on with, when it says so properly.
pub fn upgrade(headers: &HeaderMap) -> Option<&HeaderValue> {
    let asked = list(headers, &header::CONNECTION).any(|option| option.eq_ignore_ascii_case("upgrade"));
    headers.get(header::UPGRADE).filter(|_| asked)
}

fn clean(headers: &mut HeaderMap) {
    // Most connections say nothing, or `keep-alive`: nothing to collect then.
    let named: Vec<HeaderName> = list(headers, &header::CONNECTION)
        .filter(|option| !option.eq_ignore_ascii_case("keep-alive") && !option.eq_ignore_ascii_case("close"))
        .filter_map(|option| HeaderName::from_bytes(option.as_bytes()).ok())
        // A client must not have the upstream's framing or the message's target taken away.
        .filter(|name| *name != header::HOST && *name != header::CONTENT_LENGTH && *name != header::AUTHORIZATION)
        .collect();
    for name in &named {
        headers.remove(name);
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|item| item.trim())
        .filter(|item| !item.is_empty())
}

fn remove_where(headers: &mut HeaderMap, unwanted: impl Fn(&str) -> bool) {
    let names: Vec<HeaderName> = headers.keys().filter(|name| unwanted(name.as_str())).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

fn is_internal(name: &str) -> bool {
    name.starts_with(INTERNAL_PREFIX)
}

/// Servers behind us may read `_` and `.` as `-` (CGI does), so such spellings of a guarded name are guarded too.
fn is_guarded(name: &str) -> bool {
    if name.bytes().any(|byte| byte == b'_' || byte == b'.') {
        let plain = name.replace(['_', '.'], "-");
        return is_internal(&plain) || GUARDED.contains(&plain.as_str()) || NEVER_A_TRAILER.contains(&plain.as_str());
    }
    is_internal(name) || GUARDED.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn what_belongs_to_the_connection_stays_on_it() {
        let mut headers = map(&[
            ("connection", "close, X-Hop, content-length, authorization"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("te", "gzip, trailers"),
            ("expect", "100-continue"),
            ("content-length", "3"),
            ("authorization", "Bearer x"),
            ("accept", "*/*"),
        ]);
        clean_request(&mut headers);
        assert_eq!(names(&headers), ["accept", "authorization", "content-length", "te"]);
        assert_eq!(headers["te"], "trailers");
    }

    #[test]
    fn cookies_that_came_apart_go_on_as_one_field() {
        let mut headers = map(&[("cookie", "a=1"), ("cookie", "b=2; c=3")]);
        clean_request(&mut headers);
        assert_eq!(headers.get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=2; c=3"]);
    }

    #[test]
    fn nobody_speaks_for_the_gateway() {
        let mut headers = map(&[
            ("x-sker-user", "admin"),
            ("x_sker_user", "admin"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x_forwarded_for", "1.2.3.4"),
            ("x.real.ip", "1.2.3.4"),
            ("forwarded", "for=1.2.3.4"),
            ("content_length", "3"),
            ("x-ordinary_header", "stays"),
        ]);
        clean_request(&mut headers);
        assert_eq!(names(&headers), ["x-ordinary_header"]);
        let mut response = map(&[("x-sker-internal", "1"), ("etag", "\"1\""), ("connection", "close")]);
        clean_response(&mut response);
        assert_eq!(names(&response), ["etag"]);
    }

    #[test]
    fn a_trailer_cannot_change_what_a_message_is() {
        let mut trailers =
            map(&[("grpc-status", "0"), ("content-length", "9"), ("authorization", "x"), ("x-sker-role", "admin")]);
        clean_trailers(&mut trailers);
        assert_eq!(names(&trailers), ["grpc-status"]);
    }

    #[test]
    fn an_upgrade_has_to_be_asked_for_twice() {
        assert!(upgrade(&map(&[("upgrade", "websocket")])).is_none());
        assert!(upgrade(&map(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")])).is_some());
    }
}
