use http::Method;
use sker_runtime::Health;

use crate::support::{self, Running};

#[tokio::test]
async fn the_interactive_page_loads_with_everything_it_links_to() {
    let service = Running::start(|_| {}).await;
    for root in ["/docs", "/docs/", "/api/docs", "/api/docs/"] {
        let page = service.get(root).send().await.unwrap();
        assert_eq!(page.status(), 200, "{root}");
        assert!(page.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
        let base = page.url().clone();
        let html = page.text().await.unwrap();
        let base = if html.contains("<base href=\"docs/\">") { base.join("docs/").unwrap() } else { base };
        let links = html.split(['"']).filter(|part| [".js", ".css", ".png"].iter().any(|end| part.ends_with(end)));
        let links: Vec<&str> = links.collect();
        assert!(links.len() >= 5, "{html}");
        for link in links {
            let asset = service.client.get(base.join(link).unwrap()).send().await.unwrap();
            assert_eq!(asset.status(), 200, "{root} -> {link}");
        }
    }
    let start = service.get("/docs/swagger-initializer.js").send().await.unwrap().text().await.unwrap();
    assert!(start.contains("/openapi.json"), "{start}");
    assert_eq!(service.get("/docs/../Cargo.toml").send().await.unwrap().status(), 404);
    assert_eq!(service.get("/docs/nothing.js").send().await.unwrap().status(), 404);
    service.stop().await.unwrap();
}

#[tokio::test]
async fn the_api_description_is_served_and_head_has_no_body() {
    let service = Running::start(|_| {}).await;
    let text = service.get("/openapi.json").send().await.unwrap().text().await.unwrap();
    assert_eq!(text, r#"{"openapi":"3.1.0"}"#);
    let head = service.client.head(service.url("/health")).send().await.unwrap();
    assert_eq!(head.status(), 200);
    assert!(head.text().await.unwrap().is_empty());
    service.stop().await.unwrap();
}

#[test]
fn the_standard_answers_need_no_web_framework() {
    let standard = support::standard(Health::new("gateway", "1"));
    assert_eq!(standard.answer(&Method::GET, "/health").unwrap().status(), 200);
    assert_eq!(standard.answer(&Method::GET, "/ready").unwrap().status(), 503);
    assert_eq!(standard.answer(&Method::PUT, "/ready").unwrap().status(), 405);
    assert!(standard.answer(&Method::GET, "/docsx").is_none());
    assert!(standard.answer(&Method::GET, "/api/v1/projects").is_none());
}
