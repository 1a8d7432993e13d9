//! Requests that two servers could read in two ways are refused before anything is decided about them.

use http::{HeaderMap, Method, Uri, Version, header, request::Parts};
use sker_error::{Code, Error, Result};

/// Refuses what is ambiguous about a request's target, method and framing.
///
/// Both a `Transfer-Encoding` and a `Content-Length`, or two lengths that differ: hyper keeps one framing, forgets the other
/// header and closes the connection afterwards (RFC 9112 section 6.3), so that neither we nor an upstream ever see both.
pub fn check(parts: &Parts) -> Result<()> {
    match parts.method {
        Method::CONNECT | Method::TRACE => return Err(Error::new(Code::MethodNotAllowed, "this method is not served")),
        _ => {}
    }
    if parts.headers.contains_key(header::TRANSFER_ENCODING) && parts.headers.contains_key(header::CONTENT_LENGTH) {
        return Err(Error::invalid_request("the length of the body is given in two ways"));
    }
    if parts.headers.get_all(header::AUTHORIZATION).iter().nth(1).is_some() {
        // We would check one of them, and a service could go by another.
        return Err(Error::invalid_request("there is more than one Authorization header"));
    }
    host(parts).map(|_| ())
}

/// The host that the client asked for.
pub fn host(parts: &Parts) -> Result<&str> {
    let mut values = parts.headers.get_all(header::HOST).iter();
    let header = match (values.next(), values.next()) {
        (Some(_), Some(_)) => return Err(Error::invalid_request("there is more than one Host header")),
        (value, _) => value,
    };
    let header = match header.map(|value| value.to_str()) {
        Some(Ok(text)) => Some(text),
        Some(Err(_)) => return Err(Error::invalid_request("the Host header is not valid")),
        None => None,
    };
    let target = authority(&parts.uri);
    let host = match (target, header) {
        (Some(target), Some(header)) if !target.eq_ignore_ascii_case(header) => {
            return Err(Error::invalid_request("the Host header disagrees with the request's target"));
        }
        (_, Some(header)) => header,
        (Some(target), None) if parts.version == Version::HTTP_2 => target,
        // RFC 9112 section 3.2: HTTP/1.1 needs it. HTTP/1.0 may do without, and we then have nothing to go by.
        _ => return Err(Error::invalid_request("the Host header is missing")),
    };
    let valid = !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(&byte))
        && host.parse::<http::uri::Authority>().is_ok();
    if valid { Ok(host) } else { Err(Error::invalid_request("the Host header is not valid")) }
}

fn authority(uri: &Uri) -> Option<&str> {
    uri.authority().map(|authority| authority.as_str())
}

/// The token of a request: from the `Authorization` header.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok().and_then(sker_auth::bearer_token)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(uri: &str, hosts: &[&str], version: Version) -> Parts {
        let mut request = Request::builder().uri(uri).version(version);
        for host in hosts {
            request = request.header("host", *host);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_host_has_to_be_named_once_and_clearly() {
        let good = |uri: &str, hosts: &[&str], version| host(&parts(uri, hosts, version)).map(str::to_owned).ok();
        assert_eq!(good("/", &["example.org:3000"], Version::HTTP_11).as_deref(), Some("example.org:3000"));
        assert_eq!(good("http://a/", &["A"], Version::HTTP_11).as_deref(), Some("A"));
        assert_eq!(good("http://a/", &[], Version::HTTP_2).as_deref(), Some("a"));
        assert_eq!(good("/", &["[::1]:3000"], Version::HTTP_11).as_deref(), Some("[::1]:3000"));
        for (uri, hosts, version) in [
            ("/", &[][..], Version::HTTP_11),
            ("/", &["a", "a"], Version::HTTP_11),
            ("http://a/", &["b"], Version::HTTP_11),
            ("http://a/", &["b"], Version::HTTP_2),
            ("/", &["a b"], Version::HTTP_11),
            ("/", &["user@a"], Version::HTTP_11),
            ("/", &["a/b"], Version::HTTP_11),
            ("/", &[""], Version::HTTP_11),
        ] {
            assert_eq!(good(uri, hosts, version), None, "{uri} {hosts:?}");
        }
    }

    #[test]
    fn a_caller_shows_one_token() {
        let mut request = parts("/", &["a"], Version::HTTP_11);
        request.headers.append("authorization", "Bearer good".parse().unwrap());
        assert!(check(&request).is_ok());
        request.headers.append("authorization", "Bearer other".parse().unwrap());
        assert_eq!(check(&request).unwrap_err().code(), Code::InvalidRequest);
    }

    #[test]
    fn two_lengths_are_one_too_many() {
        let mut request = parts("/", &["a"], Version::HTTP_11);
        request.headers.insert("content-length", "3".parse().unwrap());
        assert!(check(&request).is_ok());
        request.headers.insert("transfer-encoding", "chunked".parse().unwrap());
        assert!(check(&request).is_err());
        request.headers.clear();
        request.method = Method::TRACE;
        assert_eq!(check(&request).unwrap_err().code(), Code::MethodNotAllowed);
    }
}
