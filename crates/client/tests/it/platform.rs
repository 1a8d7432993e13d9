use serde_json::json;
use sker_client::http::Platform;
use sker_error::Code;

use crate::server::{answer, answers};

const SESSION: &str =
    r#"{"access_token":"a-1","refresh_token":"r-1","token_type":"Bearer","expires_in":900,"user":{}}"#;

#[tokio::test]
async fn whoever_signs_in_is_known_from_then_on() {
    let created = answer("201 Created", "ETag: \"1\"\r\n", r#"{"id":"p"}"#);
    let (address, mut requests) = answers(vec![answer("200 OK", "", SESSION), created]).await;
    let platform = Platform::new(&format!("http://{address}")).unwrap();
    assert_eq!(platform.login("a@b.c", "secret").await.unwrap().refresh_token, "r-1");
    let login = requests.recv().await.unwrap();
    assert!(
        login.starts_with("POST /api/v1/auth/login ") && !login.to_lowercase().contains("authorization"),
        "{login}"
    );
    let made = platform.post("/api/v1/projects", &json!({"name": "x"})).await.unwrap();
    assert_eq!(made["id"], "p");
    let request = requests.recv().await.unwrap();
    assert!(request.to_lowercase().contains("authorization: bearer a-1"), "{request}");
    assert!(request.ends_with(r#"{"name":"x"}"#), "{request}");
}

#[tokio::test]
async fn a_problem_becomes_the_error_that_it_describes() {
    let problem = json!({
        "type": "about:blank", "title": "t", "status": 429, "detail": "slow down", "instance": "/x",
        "code": "rate_limited", "request_id": "r",
        "errors": [{"field": "name", "code": "too_long", "message": "m"}],
    });
    let kind = "Content-Type: application/problem+json\r\nRetry-After: 7\r\n";
    let (address, _requests) = answers(vec![answer("429 Too Many Requests", kind, &problem.to_string())]).await;
    let error = Platform::new(&format!("http://{address}")).unwrap().get("/x").await.unwrap_err();
    assert_eq!((error.code(), error.message(), error.retry_after_ms()), (Code::RateLimited, "slow down", Some(7_000)));
    assert_eq!(error.fields()[0].field, "name");
}

#[tokio::test]
async fn an_error_of_a_server_that_knows_no_problems_keeps_its_status() {
    let (address, _requests) = answers(vec![answer("502 Bad Gateway", "", "<html>nginx</html>")]).await;
    let error = Platform::new(&format!("http://{address}")).unwrap().get("/x").await.unwrap_err();
    assert_eq!(error.code(), Code::BadGateway);
    assert!(!error.message().contains("nginx"));
}

#[tokio::test]
async fn a_change_is_made_only_to_the_version_that_was_read() {
    let (address, mut requests) = answers(vec![answer("200 OK", "", "{}"), answer("204 No Content", "", "")]).await;
    let platform = Platform::new(&format!("http://{address}")).unwrap();
    platform.patch("/api/v1/nodes/1", &json!({"title": "t"}), Some("\"7\"")).await.unwrap();
    let request = requests.recv().await.unwrap();
    assert!(request.starts_with("PATCH ") && request.contains("if-match: \"7\""), "{request}");
    platform.delete("/api/v1/nodes/1").await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_away_is_unavailable_and_no_url_is_refused() {
    let address = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = Platform::new(&format!("http://{address}")).unwrap().get("/").await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    for bad in ["", "gateway:3000", "ftp://gateway"] {
        assert_eq!(Platform::new(bad).unwrap_err().code(), Code::InvalidRequest, "{bad}");
    }
}

#[tokio::test]
async fn a_token_goes_to_no_other_host() {
    let platform = Platform::new("http://127.0.0.1:1").unwrap();
    platform.set_token("t-1");
    for path in ["//evil.example/x", "http://evil.example/x", "/\\evil.example/x"] {
        assert_eq!(platform.get(path).await.unwrap_err().code(), Code::InvalidRequest, "{path}");
    }
}

#[test]
fn no_token_shows_in_debug_output() {
    let platform = Platform::new("http://127.0.0.1:1").unwrap();
    platform.set_token("t-1");
    let session: sker_client::http::Session = serde_json::from_str(SESSION).unwrap();
    let shown = format!("{platform:?} {session:?}");
    assert!(!shown.contains("t-1") && !shown.contains("a-1") && !shown.contains("r-1"), "{shown}");
}
