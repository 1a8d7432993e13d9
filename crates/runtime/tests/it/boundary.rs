use actix_web::{HttpResponse, web};
use sker_error::Error;
use sker_runtime::http::{HttpResult, RequestInfo};

use crate::support::{Running, problem};

fn configure(config: &mut web::ServiceConfig) {
    config
        .service(
            web::resource("/things/{id}")
                .route(web::get().to(|| async { HttpResponse::Ok().body("thing") }))
                .route(web::delete().to(|| async { HttpResponse::NoContent().finish() })),
        )
        .route("/single", web::get().to(|| async { "single" }))
        .route(
            "/id",
            web::get()
                .to(|request: actix_web::HttpRequest| async move { RequestInfo::of(&request).request_id.to_string() }),
        )
        .route("/panic", web::get().to(|| async { if true { panic!("the password is hunter2") } else { "" } }))
        .route(
            "/broken",
            web::get()
                .to(|| async { HttpResult::<&str>::Err(Error::internal("postgres://u:hunter2@db refused").into()) }),
        )
        .route(
            "/upstream",
            web::get().to(|| async { Err::<&str, _>(actix_web::error::ErrorBadGateway("http://u:hunter2@inside")) }),
        )
        .route(
            "/away",
            web::get().to(|| async { HttpResult::<&str>::Err(Error::unavailable("the store is away").into()) }),
        )
        .route("/number/{n}", web::get().to(|n: web::Path<u32>| async move { n.to_string() }));
}

#[tokio::test]
async fn an_unknown_path_is_a_not_found_problem() {
    let service = Running::start(configure).await;
    let found = problem(service.get("/nowhere?token=secret").send().await.unwrap()).await;
    assert_eq!((found.status, found.code.as_str(), found.instance.as_str()), (404, "not_found", "/nowhere"));
    let found = problem(service.get("/number/seven").send().await.unwrap()).await;
    assert_eq!(found.code, "not_found");
    service.stop().await.unwrap();
}

#[tokio::test]
async fn a_wrong_method_is_a_405_problem_that_names_the_right_ones() {
    let service = Running::start(configure).await;
    let answer = service.post("/things/1").send().await.unwrap();
    let allow = answer.headers()["allow"].to_str().unwrap().to_owned();
    assert!(allow.contains("GET") && allow.contains("DELETE"), "{allow}");
    assert_eq!(problem(answer).await.code, "method_not_allowed");
    assert_eq!(problem(service.post("/single").send().await.unwrap()).await.code, "method_not_allowed");
    let answer = service.post("/health").send().await.unwrap();
    assert_eq!(answer.headers()["allow"], "GET, HEAD");
    assert_eq!(problem(answer).await.code, "method_not_allowed");
    service.stop().await.unwrap();
}

#[tokio::test]
async fn a_request_id_is_echoed_and_a_bad_one_replaced() {
    let service = Running::start(configure).await;
    let answer = service.get("/id").header("X-Request-Id", "order-7").send().await.unwrap();
    assert_eq!(answer.headers()["x-request-id"], "order-7");
    assert_eq!(answer.text().await.unwrap(), "order-7");
    for bad in ["two words", &"x".repeat(129)] {
        let answer = service.get("/id").header("X-Request-Id", bad).send().await.unwrap();
        let made = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
        assert!(sker_types::parse_id(&made).is_some(), "{made}");
    }
    service.stop().await.unwrap();
}

#[tokio::test]
async fn a_panic_is_a_500_that_says_nothing_and_the_service_goes_on() {
    let service = Running::start(configure).await;
    for _ in 0..3 {
        let found = problem(service.get("/panic").send().await.unwrap()).await;
        assert_eq!((found.status, found.code.as_str()), (500, "internal"));
        assert!(!found.detail.contains("hunter2"));
    }
    assert_eq!(service.get("/single").send().await.unwrap().text().await.unwrap(), "single");
    service.stop().await.unwrap();
}

#[tokio::test]
async fn a_fault_of_our_own_never_shows_its_cause() {
    let service = Running::start(configure).await;
    for (path, code) in [("/broken", "internal"), ("/upstream", "bad_gateway")] {
        let text = service.get(path).send().await.unwrap().text().await.unwrap();
        assert!(text.contains(&format!("\"code\":\"{code}\"")), "{text}");
        assert!(!text.contains("postgres") && !text.contains("inside") && !text.contains("hunter2"), "{text}");
    }
    service.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_away_says_when_to_try_again() {
    let service = Running::start(configure).await;
    let answer = service.get("/away").send().await.unwrap();
    assert_eq!(answer.headers()["retry-after"], "1");
    assert_eq!(problem(answer).await.code, "unavailable");
    service.stop().await.unwrap();
}

#[tokio::test]
async fn requests_are_measured_by_route_and_not_by_path() {
    let service = Running::start(configure).await;
    for path in ["/things/1", "/things/2", "/nowhere"] {
        let answer = service.get(path).send().await.unwrap();
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    }
    let text = service.get("/metrics").send().await.unwrap().text().await.unwrap();
    let line = r#"http_requests_total{method="GET",route="/things/{id}",status="200",service="test"} 2"#;
    assert!(text.contains(line), "{text}");
    assert!(text.contains(r#"route="unmatched",status="404""#) && !text.contains("/things/1"), "{text}");
    service.stop().await.unwrap();
}
