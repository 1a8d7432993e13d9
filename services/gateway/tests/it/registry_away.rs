//! The gateway and a registry that is killed.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use sker_api::{
    Ctx, Registry,
    grpc::{ClientAuth, RegistryClient, channel},
};
use sker_auth::{Claims, ServiceTokens};
use sker_bus::MemoryBus;
use sker_cache::{MemoryLog, MemoryLogOptions};
use sker_client::Registrar;
use sker_gateway::{Deps, build};
use sker_proto::registry::ListServicesRequest;
use sker_runtime::{Listeners, platform_instance};
use sker_testkit::{Launch, Program, eventually, free_port};
use sker_types::{Role, new_id};
use tokio_util::sync::CancellationToken;

use crate::support::{SECRET, TestStore, Upstream, config, empty, keys, request, send, soon, until};

fn registry(home: &Path, http: u16, grpc: u16) -> Program {
    let launch = Launch::new("sker-registry", home).env("JWT_SECRET", SECRET);
    launch.args(["--set", &format!("http.port={http}"), "--set", &format!("grpc.port={grpc}")]).start().unwrap()
}

/// Instances that the registry knows of a service.
async fn known(registry: &RegistryClient, service: &str) -> u32 {
    let request =
        ListServicesRequest { group_name: sker_api::PLATFORM_GROUP.to_owned(), limit: 100, ..Default::default() };
    let listed = registry.list_services(&Ctx::service("store"), request).await;
    let services = listed.map(|listed| listed.services).unwrap_or_default();
    services.iter().find(|known| known.service_name == service).map_or(0, |known| known.instances)
}

#[tokio::test]
async fn routes_outlive_a_registry_that_is_killed_and_comes_back_without_its_memory() {
    let (before, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (http, grpc) = (free_port().unwrap(), free_port().unwrap());
    let auth = |service| ClientAuth::new(Arc::new(ServiceTokens::new(keys(), service)));
    let client = |service| RegistryClient::new(channel(&format!("http://127.0.0.1:{grpc}")).unwrap(), auth(service));

    // The gateway starts first: it is not ready, and says so instead of 404.
    let deps = Deps {
        registry: Arc::new(client("gateway")),
        store: Arc::new(TestStore::default()),
        bus: Arc::new(MemoryBus::new()),
        log: Arc::new(MemoryLog::new(1, MemoryLogOptions::default())),
        redis: None,
        keys: keys(),
    };
    // Far more than it takes a service to notice that it was forgotten: the longest pause of its registrar is 5 s, a call
    // takes 3 s at most, and on a busy machine it may need a second one.
    let config = config(&[("routes.missing_grace_ms", "20000")]);
    let service = build(config, deps, Listeners::free(false).unwrap()).await.unwrap();
    let (address, health, stop) = (service.address(), service.health(), CancellationToken::new());
    let running = tokio::spawn(service.run(stop.clone()));
    let get = async |path: &str| send(address, request("GET", path).body(empty()).unwrap()).await;
    for path in ["/ready", "/api/v1/projects"] {
        assert_eq!(get(path).await.status, 503, "{path}");
    }

    let mut program = registry(before.path(), http, grpc);
    let upstream = Upstream::saying("here").await;
    let routes = [json!({"path": "/api/v1/*", "auth": "none"})];
    let mut instance = platform_instance("store", "127.0.0.1", upstream.address.port(), "1", &routes);
    instance.heartbeat_interval_seconds = 1;
    let registrar = Registrar::new(Arc::new(client("store")), "store", instance);
    let registering = tokio::spawn({
        let (registrar, stop) = (registrar.clone(), stop.clone());
        async move { registrar.run(stop).await }
    });
    soon(health.until_ready()).await;
    until(async || get("/api/v1/x").await.text() == "here").await;
    // The gateway may hear of the service before the service hears that it is registered.
    until(async || registrar.state().registered).await;

    // From here on no request may fail.
    let (done, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let asking = tokio::spawn({
        let (done, answered) = (Arc::clone(&done), Arc::clone(&answered));
        async move {
            while !done.load(Ordering::SeqCst) {
                let answer = send(address, request("GET", "/api/v1/x").body(empty()).unwrap()).await;
                assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "here"));
                answered.fetch_add(1, Ordering::SeqCst);
                // Each request is a connection of its own: without a pause they would use up the ports of this machine.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    });
    program.kill().await.unwrap();
    until(async || registrar.state().last_error.is_some()).await;
    let so_far = answered.load(Ordering::SeqCst);
    until(async || answered.load(Ordering::SeqCst) >= so_far + 200).await;
    assert!(health.ready(), "the last routes are good");

    let mut program = registry(after.path(), http, grpc);
    let services = client("test");
    eventually("the service has registered again", async || Ok((known(&services, "store").await == 1).then_some(())))
        .await
        .unwrap_or_else(|error| panic!("{error:#}\n{}", program.output()));
    let claims = Claims::user(new_id(), Role::Admin, new_id(), Duration::from_secs(600));
    let token = keys().issue(&claims).unwrap();
    // What the registry does not know any more is given up, and what it knows now has taken its place by then.
    let own = |text: &str| text.matches(&upstream.address.to_string()).count();
    let mut seen = String::new();
    eventually("only what the registry knows now is left", async || {
        let list = request("GET", "/api/v1/routes").header("authorization", format!("Bearer {token}"));
        seen = send(address, list.body(empty()).unwrap()).await.text();
        Ok((own(&seen) == 1 && registrar.state().registrations >= 2).then_some(()))
    })
    .await
    .unwrap_or_else(|error| panic!("{error:#}\n{seen}\n{:?}\n{}", registrar.state(), program.output()));
    done.store(true, Ordering::SeqCst);
    soon(asking).await.unwrap();
    assert!(answered.load(Ordering::SeqCst) > 0);
    stop.cancel();
    soon(running).await.unwrap().unwrap();
    soon(registering).await.unwrap();
    program.kill().await.unwrap();
}
