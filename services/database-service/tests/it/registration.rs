use std::{collections::BTreeMap, sync::Mutex};

use async_trait::async_trait;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sker_api::{
    Ctx, Registry, WatchStream,
    proto::registry::{
        DeregisterRequest, DeregisterResponse, DiscoverRequest, DiscoverResponse, HeartbeatRequest, HeartbeatResponse,
        Instance, ListServicesRequest, ListServicesResponse, RegisterRequest, RegisterResponse, WatchRequest,
    },
};
use sker_error::{Error, Result};

use crate::support::{Setup, TestService, user};

/// Stands in for the registry, which this crate must not depend on. It remembers who is registered, and can be away.
#[derive(Default)]
pub struct FakeRegistry {
    away: Mutex<bool>,
    instances: Mutex<BTreeMap<String, Instance>>,
    callers: Mutex<Vec<String>>,
}

impl FakeRegistry {
    pub fn set_away(&self, away: bool) {
        *self.away.lock().unwrap() = away;
    }

    fn instances(&self) -> Vec<Instance> {
        self.instances.lock().unwrap().values().cloned().collect()
    }

    fn answer(&self, ctx: &Ctx) -> Result<()> {
        self.callers.lock().unwrap().push(format!("{:?} {}", ctx.principal.kind, ctx.principal.subject));
        if *self.away.lock().unwrap() { Err(Error::unavailable("the registry is away")) } else { Ok(()) }
    }
}

#[async_trait]
impl Registry for FakeRegistry {
    async fn register(&self, ctx: &Ctx, request: RegisterRequest) -> Result<RegisterResponse> {
        self.answer(ctx)?;
        let mut instance = request.instance.unwrap_or_default();
        instance.instance_id = format!("{}:{}", instance.host_address, instance.port_number);
        let created = self.instances.lock().unwrap().insert(instance.instance_id.clone(), instance.clone()).is_none();
        Ok(RegisterResponse { instance: Some(instance), created })
    }

    async fn heartbeat(&self, ctx: &Ctx, _: HeartbeatRequest) -> Result<HeartbeatResponse> {
        self.answer(ctx)?;
        Ok(HeartbeatResponse { renewed: 1, unknown: Vec::new() })
    }

    async fn deregister(&self, ctx: &Ctx, request: DeregisterRequest) -> Result<DeregisterResponse> {
        self.answer(ctx)?;
        self.instances.lock().unwrap().remove(&request.instance_id);
        Ok(DeregisterResponse {})
    }

    async fn discover(&self, _: &Ctx, _: DiscoverRequest) -> Result<DiscoverResponse> {
        Ok(DiscoverResponse::default())
    }

    async fn list_services(&self, _: &Ctx, _: ListServicesRequest) -> Result<ListServicesResponse> {
        Ok(ListServicesResponse::default())
    }

    async fn watch(&self, _: &Ctx, _: WatchRequest) -> Result<WatchStream> {
        Err(Error::unavailable("nobody watches here"))
    }
}

const STATUS: &str = "/api/database/registry/status";

async fn registered(service: &TestService) -> Value {
    service.until(STATUS, |body| body["registered"] == true).await
}

#[tokio::test]
async fn the_service_registers_itself_with_its_routes_and_deregisters_when_it_stops() {
    let service = Setup::new().start().await;
    registered(&service).await;
    let instance = service.setup.registry.instances().remove(0);
    assert_eq!((instance.group_name.as_str(), instance.service_name.as_str()), ("sker-platform", "database-service"));
    let metadata: Value = serde_json::from_str(&instance.metadata_json).unwrap();
    let route = &metadata["routes"][0];
    assert_eq!(route["path"], "/api/database/*");
    assert_eq!(route["methods"], json!(["GET", "POST", "PUT", "DELETE"]));
    assert_eq!((&route["auth"], &route["load_balancer"]), (&json!("user"), &json!("round_robin")));
    let setup = service.stop().await;
    assert!(setup.registry.instances().is_empty());
    let callers = setup.registry.callers.lock().unwrap().clone();
    assert!(callers.iter().all(|caller| caller == "Service database-service"), "{callers:?}");
}

#[tokio::test]
async fn registry_status_is_the_object_of_the_seed() {
    let service = Setup::new().start().await;
    let body = registered(&service).await;
    let port = body["port"].as_u64().unwrap();
    assert_eq!(body["service_id"], format!("database-service-{port}"));
    assert_eq!(body["service_name"], "database-service");
    assert_eq!(body["service_type"], "database");
    assert_eq!(body["host"], "127.0.0.1");
    assert_eq!(body["health_check_url"], format!("http://127.0.0.1:{port}/health"));
    assert_eq!(body["metadata"]["supported_databases"], json!(["postgresql", "redis", "rabbitmq", "mysql", "sqlite"]));
    assert_eq!(body["metadata"]["capabilities"], json!(["health_monitoring", "connection_testing"]));
    assert_eq!(body["routes"][0]["path"], "/api/database/*");
    assert_eq!(body["version"], env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn metadata_is_updated_in_the_registry_at_once() {
    let service = Setup::new().start().await;
    registered(&service).await;
    let update = json!({"metadata": {"region": "eu", "weight": 3}});
    let (status, body) = service.post("/api/database/registry/update", Some(update)).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(body["metadata"]["region"], "eu");
    let metadata: Value = serde_json::from_str(&service.setup.registry.instances()[0].metadata_json).unwrap();
    assert_eq!((&metadata["region"], &metadata["weight"]), (&json!("eu"), &json!(3)));
    assert_eq!(metadata["routes"][0]["path"], "/api/database/*", "what was there stays");

    let (_, body) = service.post("/api/database/registry/update", Some(json!({"metadata": {"region": null}}))).await;
    assert_eq!(body["metadata"].get("region"), None);
}

#[tokio::test]
async fn an_update_of_metadata_claims_no_route_and_names_every_fault() {
    let service = Setup::new().start().await;
    registered(&service).await;
    let update = json!({"metadata": {"routes": [{"path": "/api/v1/auth/login"}], "nested": {}}, "extra": 1});
    let (status, body) = service.post("/api/database/registry/update", Some(update)).await;
    assert_eq!((status, &body["code"]), (StatusCode::BAD_REQUEST, &json!("unknown_field")));
    let update = json!({"metadata": {"routes": [{"path": "/api/v1/auth/login"}], "nested": {}}});
    let (status, body) = service.post("/api/database/registry/update", Some(update)).await;
    assert_eq!((status, body["errors"].as_array().unwrap().len()), (StatusCode::BAD_REQUEST, 2));
    let (status, _) = service.post("/api/database/registry/update", Some(json!({}))).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let update = Some(json!({"metadata": {"region": "eu"}}));
    let (status, _) = service.send(Method::POST, "/api/database/registry/update", Some(&user()), update).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn without_a_registry_the_service_works_and_registers_when_it_is_there() {
    let setup = Setup::new();
    setup.registry.set_away(true);
    let service = setup.start().await;
    let body = service.until(STATUS, |body| body["last_error"].is_string()).await;
    assert_eq!(body["registered"], false);
    let (status, _) = service.send(Method::GET, "/ready", None, None).await;
    assert_eq!(status, StatusCode::OK);
    let update = Some(json!({"metadata": {"region": "eu"}}));
    let (status, body) = service.post("/api/database/registry/update", update).await;
    assert_eq!((status, &body["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("unavailable")));
    service.setup.registry.set_away(false);
    registered(&service).await;
}
