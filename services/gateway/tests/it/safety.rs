use http::Response;
use serde_json::json;
use sker_types::{Role, new_id};
use std::time::Duration;

use crate::support::{Platform, Upstream, empty, raw, request, send, text};

async fn raw_path(platform: &Platform, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n\r\n");
    raw(platform.address, request.as_bytes()).await
}

#[tokio::test]
async fn a_path_is_judged_in_the_form_in_which_it_is_sent_on() {
    let (platform, upstream) = (Platform::start().await, Upstream::echo().await);
    let routes = json!([{"path": "/open/*", "auth": "none"}, {"path": "/open/admin/*", "auth": "admin"}]);
    platform.serve("s", upstream.address, routes).await;
    for path in [
        "/open/admin/x",
        "/open//admin/x",
        "//open/admin/x",
        "/open/./admin/x",
        "/open/y/../admin/x",
        "/open/y/%2e%2e/admin/x",
        "/open/%61dmin/x",
        "/open/admin",
        "http://gateway.test/open//admin/x",
    ] {
        let answer = raw_path(&platform, path).await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{path}: {answer}");
    }
    for path in
        ["/open/x%2Fadmin", "/open\\admin", "/open/%5cadmin", "/open/x%00", "/open/..;/admin", "/../x", "/open/%zz"]
    {
        let answer = raw_path(&platform, path).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{path}: {answer}");
    }
    let seen = raw_path(&platform, "/open//a/./b/../c%7E?keep=//../x").await;
    assert!(seen.contains("GET /open/a/c~?keep=//../x\n"), "{seen}");
}

#[tokio::test]
async fn the_gateways_own_pages_name_their_methods_and_the_request() {
    let platform = Platform::start().await;
    for (path, methods) in
        [("/health", "GET, HEAD"), ("/api/v1/routes", "GET, HEAD"), ("/ws", "GET"), ("/api/v1/events", "GET")]
    {
        let request =
            format!("POST {path} HTTP/1.1\r\nHost: a\r\nX-Request-Id: of-a-test\r\nConnection: close\r\n\r\n");
        let answer = raw(platform.address, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 405 "), "{path}: {answer}");
        assert!(
            answer.to_ascii_lowercase().contains(&format!("allow: {methods}\r\n").to_ascii_lowercase()),
            "{answer}"
        );
        assert!(answer.contains("\"request_id\":\"of-a-test\""), "{answer}");
    }
}

#[tokio::test]
async fn ambiguous_requests_are_refused() {
    let (platform, upstream) = (Platform::start().await, Upstream::echo().await);
    platform.serve("s", upstream.address, json!([{"path": "/s/*", "auth": "none"}])).await;
    for head in [
        "GET /s/x HTTP/1.1\r\n",
        "GET /s/x HTTP/1.1\r\nHost: a\r\nHost: b\r\n",
        "GET http://a/s/x HTTP/1.1\r\nHost: b\r\n",
        "GET /s/x HTTP/1.1\r\nHost: a b\r\n",
        "GET /s/x HTTP/1.0\r\n",
        "GET /s/x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n",
        "POST /s/x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n",
        "POST /s/x HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n",
        "POST /s/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n",
        "POST /s/x HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n",
        "GET /s/x HTTP/1.1\r\nHost : a\r\n",
    ] {
        let answer = raw(platform.address, format!("{head}Connection: close\r\n\r\n").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 ") || answer.starts_with("HTTP/1.0 400 "), "{head}: {answer}");
    }
    let trace = "TRACE /s/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert!(raw(platform.address, trace.as_bytes()).await.starts_with("HTTP/1.1 405 "));
}

#[tokio::test]
async fn a_request_hidden_in_another_stays_hidden() {
    let (platform, upstream) = (Platform::start().await, Upstream::echo().await);
    platform.serve("s", upstream.address, json!([{"path": "/s/*", "auth": "none"}])).await;
    // Both a length and chunks: the chunks count, the length goes no further, and the connection is over.
    let smuggled = "POST /s/x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n\
        0\r\n\r\nGET /s/hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    let answer = raw(platform.address, smuggled.as_bytes()).await;
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    assert!(!answer.contains("content-length: 4\n") && !answer.contains("hidden"), "{answer}");
}

#[tokio::test]
async fn oversized_heads_are_refused() {
    let platform = Platform::with(&[("limits.max_headers", "20"), ("limits.max_head_bytes", "8192")]).await;
    let many: String = (0..30).map(|number| format!("x-{number}: 1\r\n")).collect();
    let long = format!("x-long: {}\r\n", "x".repeat(20_000));
    for headers in [many, long] {
        let head = format!("GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}\r\n");
        let answer = raw(platform.address, head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
}

#[tokio::test]
async fn a_client_that_never_finishes_its_head_is_let_go() {
    let platform = Platform::with(&[("http.head_timeout_ms", "100")]).await;
    assert_eq!(raw(platform.address, b"GET /health HTTP/1.1\r\nHost:").await, "");
    assert_eq!(raw(platform.address, b"PR").await, "");
    assert_eq!(raw(platform.address, b"").await, "");
}

#[tokio::test]
async fn nobody_speaks_for_the_gateway() {
    let (platform, upstream) = (Platform::start().await, Upstream::echo().await);
    platform.serve("s", upstream.address, json!([{"path": "/s", "auth": "none"}])).await;
    let sent = request("GET", "/s")
        .header("x-sker-user", "admin")
        .header("x_sker_user", "admin")
        .header("x-forwarded-for", "6.6.6.6")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-host", "evil.example")
        .header("x-real-ip", "6.6.6.6")
        .header("forwarded", "for=6.6.6.6")
        .header("connection", "x-hop")
        .header("x-hop", "1")
        .header("keep-alive", "timeout=5")
        .header("proxy-authorization", "Basic x")
        .header("authorization", "Bearer passed-on")
        .header("x-request-id", "given-id");
    let seen = send(platform.address, sent.body(empty()).unwrap()).await;
    assert_eq!(seen.headers["x-request-id"], "given-id");
    let seen = seen.text();
    for gone in ["sker", "6.6.6.6", "evil", "https", "hop", "keep-alive", "proxy"] {
        assert!(!seen.contains(gone), "{gone} in {seen}");
    }
    for there in [
        "x-forwarded-for: 127.0.0.1\n",
        "x-forwarded-proto: http\n",
        "x-forwarded-host: gateway.test\n",
        "x-request-id: given-id\n",
        "authorization: Bearer passed-on\n",
    ] {
        assert!(seen.contains(there), "{there} not in {seen}");
    }
}

#[tokio::test]
async fn a_trusted_proxy_is_believed() {
    let platform = Platform::with(&[("limits.trusted_proxies", "[\"127.0.0.0/8\"]")]).await;
    let upstream = Upstream::echo().await;
    platform.serve("s", upstream.address, json!([{"path": "/s", "auth": "none"}])).await;
    let sent = request("GET", "/s")
        .header("x-forwarded-for", "6.6.6.6, 198.51.100.7")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-host", "app.example");
    let seen = send(platform.address, sent.body(empty()).unwrap()).await.text();
    assert!(seen.contains("x-forwarded-for: 198.51.100.7, 127.0.0.1\n"), "{seen}");
    assert!(seen.contains("x-forwarded-proto: https\n") && seen.contains("x-forwarded-host: app.example\n"), "{seen}");
}

#[tokio::test]
async fn each_route_lets_in_whom_it_names() {
    let (platform, upstream) = (Platform::start().await, Upstream::saying("in").await);
    let routes = json!([{"path": "/none", "auth": "none"}, {"path": "/user", "auth": "user"},
        {"path": "/admin", "auth": "admin"}, {"path": "/service", "auth": "service"}, {"path": "/unsaid"}]);
    platform.serve("s", upstream.address, routes).await;
    let tokens = [Role::User, Role::Admin, Role::Service].map(|role| platform.token(role));
    for (path, expected) in [
        ("/none", [200, 200, 200, 200]),
        ("/user", [401, 200, 200, 200]),
        ("/unsaid", [401, 200, 200, 200]),
        ("/admin", [401, 403, 200, 403]),
        ("/service", [401, 403, 403, 200]),
    ] {
        let mut statuses = vec![platform.get(path, None).await.status.as_u16()];
        for token in &tokens {
            statuses.push(platform.get(path, Some(token)).await.status.as_u16());
        }
        assert_eq!(statuses, expected, "{path}");
    }
}

#[tokio::test]
async fn a_bad_token_is_refused_before_anything_is_sent() {
    let (platform, upstream) = (Platform::start().await, Upstream::saying("in").await);
    platform.serve("s", upstream.address, json!([{"path": "/s"}])).await;
    let expired = platform.token_for(new_id(), Role::User, Duration::ZERO);
    let good = platform.token(Role::User);
    let unsigned = format!("{}.", good.rsplit_once('.').unwrap().0);
    for token in [expired.as_str(), &unsigned, "nonsense", &format!("{good}x")] {
        let answer = platform.get("/s", Some(token)).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (401, "unauthenticated"));
        assert!(answer.headers["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
    }
}

#[tokio::test]
async fn answers_are_cleaned_and_made_safe_for_browsers() {
    let platform = Platform::start().await;
    let upstream = Upstream::start(|_| async {
        Response::builder()
            .header("x-sker-internal", "secret")
            .header("x-frame-options", "SAMEORIGIN")
            .header("access-control-allow-origin", "https://elsewhere.example")
            .header("etag", "\"7\"")
            .body(text("page"))
            .unwrap()
    })
    .await;
    platform.serve("s", upstream.address, json!([{"path": "/s", "auth": "none"}])).await;
    let sent = request("GET", "/s").header("origin", "https://app.example").body(empty()).unwrap();
    let headers = send(platform.address, sent).await.headers;
    assert!(!headers.contains_key("x-sker-internal"));
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(headers["x-frame-options"], "SAMEORIGIN");
    assert_eq!(headers["etag"], "\"7\"");
    assert_eq!(headers["access-control-allow-origin"], "*", "development is open");
    let preflight = request("OPTIONS", "/s")
        .header("origin", "https://app.example")
        .header("access-control-request-method", "PATCH")
        .header("access-control-request-headers", "if-match");
    let answer = send(platform.address, preflight.body(empty()).unwrap()).await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.headers["access-control-allow-headers"], "if-match");
}

#[tokio::test]
async fn production_is_closed_to_pages_it_does_not_know() {
    let origins = ("cors.allowed_origins", "[\"https://app.example\"]");
    let platform = Platform::with(&[("environment", "production"), origins]).await;
    for (origin, allowed) in [("https://app.example", true), ("https://evil.example", false)] {
        let sent = request("GET", "/health").header("origin", origin).body(empty()).unwrap();
        let answer = send(platform.address, sent).await;
        assert_eq!(answer.headers.contains_key("access-control-allow-origin"), allowed, "{origin}");
    }
}
