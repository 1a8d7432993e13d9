use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;
use sker_runtime::{
    MainRuntime,
    http::{self, Caller, HttpResult, JsonObject, MaybeCaller, OptionalJsonObject, answer},
};
use sker_types::Role;

use crate::support::{Running, problem, token};

async fn whoami(caller: Caller) -> HttpResult<HttpResponse> {
    let ctx = &caller.ctx;
    Ok(answer::ok(&json!({"user": caller.user_id()?, "tenant": ctx.tenant, "request_id": ctx.request_id})))
}

async fn admin(caller: Caller) -> HttpResult<HttpResponse> {
    caller.require_admin()?;
    Ok(answer::no_content())
}

async fn anyone(caller: MaybeCaller) -> String {
    caller.principal.subject.clone()
}

async fn echo(body: JsonObject) -> HttpResponse {
    answer::created("/echo/1", &body.0)
}

async fn optional(body: OptionalJsonObject) -> HttpResponse {
    answer::ok(&body.0)
}

async fn list(request: HttpRequest) -> HttpResult<HttpResponse> {
    let mut query = http::query(&request)?;
    let (limit, status) = (query.limit(), query.one_of("status", &["active", "paused"]));
    query.finish()?;
    Ok(answer::ok(&json!({"limit": limit, "status": status})))
}

async fn elsewhere(main: web::Data<MainRuntime>) -> HttpResult<String> {
    let name = async { Ok(std::thread::current().name().unwrap_or_default().to_owned()) };
    Ok(main.run(name).await?)
}

async fn fails_elsewhere(main: web::Data<MainRuntime>) -> HttpResult<String> {
    Ok(main.run(async { if true { panic!("on the main runtime") } else { Ok(String::new()) } }).await?)
}

async fn thing(request: HttpRequest) -> HttpResult<HttpResponse> {
    let id = http::path_id(&request, "id", "thing")?;
    Ok(answer::resource(&request, 7, &json!({"id": id}))?)
}

fn configure(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/me").route(web::get().to(whoami)))
        .service(web::resource("/admin").route(web::get().to(admin)))
        .service(web::resource("/anyone").route(web::get().to(anyone)))
        .service(web::resource("/echo").route(web::post().to(echo)).route(web::patch().to(echo)))
        .service(web::resource("/optional").route(web::post().to(optional)))
        .service(web::resource("/list").route(web::get().to(list)))
        .service(web::resource("/elsewhere").route(web::get().to(elsewhere)))
        .service(web::resource("/fails-elsewhere").route(web::get().to(fails_elsewhere)))
        .service(web::resource("/things/{id}").route(web::get().to(thing)));
}

#[tokio::test]
async fn a_caller_is_whoever_the_token_names() {
    let service = Running::start(configure).await;
    let (user, token) = token(Role::User);
    let request = service.get("/me").bearer_auth(&token).header("X-Tenant-Id", "acme").header("X-Request-Id", "r-1");
    let body: serde_json::Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(body, json!({"user": user, "tenant": "acme", "request_id": "r-1"}));
    let refused = problem(service.get("/admin").bearer_auth(&token).send().await.unwrap()).await;
    assert_eq!(refused.code, "forbidden");
    service.stop().await.unwrap();
}

#[tokio::test]
async fn without_a_good_token_the_answer_is_401_and_says_how_to_sign_in() {
    let service = Running::start(configure).await;
    let basic = service.get("/me").header("Authorization", "Basic dTpw");
    for request in
        [service.get("/me"), service.get("/me").bearer_auth("forged"), service.get("/anyone").bearer_auth("x"), basic]
    {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.headers()["www-authenticate"], "Bearer realm=\"sker\"");
        assert_eq!(problem(answer).await.code, "unauthenticated");
    }
    let anonymous = service.get("/anyone").send().await.unwrap();
    assert_eq!((anonymous.status().as_u16(), anonymous.text().await.unwrap().as_str()), (200, ""));
    service.stop().await.unwrap();
}

#[tokio::test]
async fn a_tenant_that_is_no_name_is_refused() {
    let service = Running::start(configure).await;
    let request = service.get("/me").bearer_auth(token(Role::User).1).header("X-Tenant-Id", "../etc");
    assert_eq!(problem(request.send().await.unwrap()).await.code, "invalid_request");
    service.stop().await.unwrap();
}

#[tokio::test]
async fn a_body_that_is_no_json_object_is_a_400() {
    let service = Running::start(configure).await;
    for body in ["{", "[1]", "null", ""] {
        let request = service.post("/echo").header("Content-Type", "application/json").body(body);
        assert_eq!(problem(request.send().await.unwrap()).await.code, "invalid_request", "{body}");
    }
    let answer = service.post("/echo").json(&json!({"a": 1})).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["location"].to_str().unwrap()), (201, "/echo/1"));
    service.stop().await.unwrap();
}

#[tokio::test]
async fn a_body_of_another_type_is_a_415() {
    let service = Running::start(configure).await;
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/merge-patch+json"] {
        let request = service.post("/echo").header("Content-Type", kind).body("{}");
        assert_eq!(problem(request.send().await.unwrap()).await.code, "unsupported_media_type", "{kind}");
    }
    let untyped = service.post("/echo").body("{}").send().await.unwrap();
    assert_eq!(problem(untyped).await.code, "unsupported_media_type");
    let zipped = service.post("/echo").header("Content-Encoding", "gzip").json(&json!({})).send().await.unwrap();
    assert_eq!(problem(zipped).await.code, "unsupported_media_type");
    let url = service.url("/echo");
    let patch =
        service.client.patch(url).header("Content-Type", "application/merge-patch+json; charset=utf-8").body("{}");
    assert_eq!(patch.send().await.unwrap().status(), 201);
    service.stop().await.unwrap();
}

#[tokio::test]
async fn a_body_that_is_too_large_is_a_413_with_and_without_its_length() {
    let service = Running::start(configure).await;
    let large = format!("{{\"text\":\"{}\"}}", "x".repeat(8192));
    let request = service.post("/echo").header("Content-Type", "application/json").body(large.clone());
    assert_eq!(problem(request.send().await.unwrap()).await.code, "payload_too_large");
    let pieces = futures::stream::iter([Ok::<_, std::io::Error>(large)]);
    let request = service.post("/echo").header("Content-Type", "application/json");
    let answer = request.body(reqwest::Body::wrap_stream(pieces)).send().await.unwrap();
    assert_eq!(problem(answer).await.code, "payload_too_large");
    service.stop().await.unwrap();
}

#[tokio::test]
async fn a_body_may_be_left_out_where_it_is_optional() {
    let service = Running::start(configure).await;
    assert_eq!(service.post("/optional").send().await.unwrap().text().await.unwrap(), "null");
    let given = service.post("/optional").json(&json!({"a": 1})).send().await.unwrap();
    assert_eq!(given.text().await.unwrap(), "{\"a\":1}");
    service.stop().await.unwrap();
}

#[tokio::test]
async fn an_unknown_query_parameter_is_refused_by_name() {
    let service = Running::start(configure).await;
    let good = service.get("/list?limit=5&status=active").send().await.unwrap();
    assert_eq!(good.text().await.unwrap(), r#"{"limit":5,"status":"active"}"#);
    let unknown = problem(service.get("/list?colour=red").send().await.unwrap()).await;
    assert_eq!((unknown.code.as_str(), unknown.errors[0].field.as_str()), ("unknown_field", "colour"));
    let all = problem(service.get("/list?colour=red&limit=0&status=x&status=y").send().await.unwrap()).await;
    let mut fields: Vec<&str> = all.errors.iter().map(|error| error.field.as_str()).collect();
    fields.sort_unstable();
    assert_eq!((all.code.as_str(), fields), ("validation_failed", vec!["colour", "limit", "status"]));
    service.stop().await.unwrap();
}

#[tokio::test]
async fn a_resource_has_an_etag_and_a_path_that_is_no_id_is_not_found() {
    let service = Running::start(configure).await;
    let path = format!("/things/{}", sker_types::new_id());
    let answer = service.get(&path).send().await.unwrap();
    assert_eq!(answer.headers()["etag"], "\"7\"");
    let again = service.get(&path).header("If-None-Match", "\"7\"").send().await.unwrap();
    assert_eq!(again.status(), 304);
    assert_eq!(problem(service.get("/things/7").send().await.unwrap()).await.detail, "no such thing");
    service.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_use_case_runs_on_the_main_runtime_and_its_panic_is_a_500() {
    let service = Running::start(configure).await;
    let thread = service.get("/elsewhere").send().await.unwrap().text().await.unwrap();
    assert!(thread.contains("tokio"), "{thread}");
    assert_eq!(problem(service.get("/fails-elsewhere").send().await.unwrap()).await.code, "internal");
    service.stop().await.unwrap();
}
