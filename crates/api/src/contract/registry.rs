//! The contract of [`Registry`].

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use sker_error::Code;
use sker_proto::registry::{
    DeregisterRequest, DiscoverRequest, HeartbeatRequest, Instance, ListServicesRequest, RegisterRequest, WatchRequest,
    watch_response::Event,
};
use sker_types::Principal;

use super::refused;
use crate::{Ctx, PLATFORM_GROUP, Registry, WatchStream};

const PATIENCE: Duration = Duration::from_secs(20);

fn instance(service: &str, port: u32) -> Instance {
    Instance {
        service_name: service.to_owned(),
        group_name: "contract".to_owned(),
        host_address: "127.0.0.1".to_owned(),
        port_number: port,
        instance_status: "UP".to_owned(),
        health_status: "HEALTHY".to_owned(),
        weight_value: 100,
        metadata_json: r#"{"version":"1"}"#.to_owned(),
        tags: vec!["blue".to_owned()],
        ..Instance::default()
    }
}

fn register(instance: Instance) -> RegisterRequest {
    RegisterRequest { instance: Some(instance) }
}

/// Runs the whole suite. `prefix` keeps service names of several runs on one registry apart.
pub async fn run(registry: &dyn Registry, prefix: &str) {
    registering_twice_is_one_instance(registry, &format!("{prefix}-twice")).await;
    an_instance_that_does_not_say_lives_by_heartbeats(registry, &format!("{prefix}-ephemeral")).await;
    filters_select_instances(registry, &format!("{prefix}-filters")).await;
    wrong_calls_are_refused(registry, &format!("{prefix}-wrong")).await;
    a_watch_resumes_without_a_gap(registry, &format!("{prefix}-watch")).await;
    the_deadline_is_kept(registry).await;
}

async fn registering_twice_is_one_instance(registry: &dyn Registry, service: &str) {
    let ctx = Ctx::service("contract");
    let first = registry.register(&ctx, register(instance(service, 7001))).await.expect("registers");
    assert!(first.created);
    let id = first.instance.expect("the instance").instance_id;
    let again = registry.register(&ctx, register(instance(service, 7001))).await.expect("registers again");
    assert!(!again.created);
    assert_eq!(again.instance.expect("the instance").instance_id, id);

    let beat = HeartbeatRequest { instance_ids: vec![id.clone(), "no-such-id".to_owned()] };
    let beat = registry.heartbeat(&ctx, beat).await.expect("renews");
    assert_eq!((beat.renewed, beat.unknown), (1, vec!["no-such-id".to_owned()]));

    let listed = registry
        .list_services(
            &ctx,
            ListServicesRequest { group_name: "contract".to_owned(), limit: 200, ..Default::default() },
        )
        .await
        .expect("lists");
    assert!(listed.services.iter().any(|summary| summary.service_name == service && summary.instances == 1));

    for _ in 0..2 {
        registry.deregister(&ctx, DeregisterRequest { instance_id: id.clone() }).await.expect("repeating is no error");
    }
    assert!(discover(registry, service).await.is_empty());
}

async fn an_instance_that_does_not_say_lives_by_heartbeats(registry: &dyn Registry, service: &str) {
    let ctx = Ctx::service("contract");
    for (port, said, holds) in [(7001, None, true), (7002, Some(true), true), (7003, Some(false), false)] {
        let asked = Instance { ephemeral: said, ..instance(service, port) };
        let answer = registry.register(&ctx, register(asked)).await.expect("registers").instance;
        assert_eq!(answer.expect("the instance").ephemeral, Some(holds), "registered with {said:?}");
        let found = discover(registry, service).await.into_iter().find(|instance| instance.port_number == port);
        assert_eq!(found.expect("is found").ephemeral, Some(holds), "discovered after {said:?}");
    }
}

async fn discover(registry: &dyn Registry, service: &str) -> Vec<Instance> {
    let request = DiscoverRequest {
        service_name: service.to_owned(),
        group_name: "contract".to_owned(),
        ..DiscoverRequest::default()
    };
    registry.discover(&Ctx::service("contract"), request).await.expect("discovers").instances
}

async fn filters_select_instances(registry: &dyn Registry, service: &str) {
    let ctx = Ctx::service("contract");
    let green = Instance {
        tags: vec!["green".to_owned()],
        metadata_json: r#"{"version":"2"}"#.to_owned(),
        instance_status: "OUT_OF_SERVICE".to_owned(),
        ..instance(service, 7002)
    };
    for instance in [instance(service, 7001), green] {
        registry.register(&ctx, register(instance)).await.expect("registers");
    }
    let all = DiscoverRequest {
        service_name: service.to_owned(),
        group_name: "contract".to_owned(),
        ..DiscoverRequest::default()
    };
    let by_tag = DiscoverRequest { tags: vec!["green".to_owned()], ..all.clone() };
    let by_status = DiscoverRequest { status: "UP".to_owned(), ..all.clone() };
    let by_metadata = DiscoverRequest { metadata: [("version".to_owned(), "2".to_owned())].into(), ..all.clone() };
    for (request, ports) in
        [(all, vec![7001, 7002]), (by_tag, vec![7002]), (by_status, vec![7001]), (by_metadata, vec![7002])]
    {
        let answer = registry.discover(&ctx, request.clone()).await.expect("discovers");
        let mut found: Vec<u32> = answer.instances.iter().map(|instance| instance.port_number).collect();
        found.sort_unstable();
        assert_eq!(found, ports, "{request:?}");
        assert!(!answer.revision.is_empty());
    }
    let nothing = DiscoverRequest { service_name: format!("{service}-unknown"), ..DiscoverRequest::default() };
    assert!(registry.discover(&ctx, nothing).await.expect("an unknown service is empty").instances.is_empty());
}

async fn wrong_calls_are_refused(registry: &dyn Registry, service: &str) {
    let ctx = Ctx::service("contract");
    let nameless = Instance { service_name: String::new(), port_number: 0, ..instance(service, 1) };
    let error = registry.register(&ctx, register(nameless)).await.expect_err("must be refused");
    assert_eq!(error.code(), Code::ValidationFailed);
    let fields: Vec<&str> = error.fields().iter().map(|field| field.field.as_str()).collect();
    assert!(fields.contains(&"serviceName") && fields.contains(&"portNumber"), "{fields:?}");

    let anonymous = Ctx::new(Principal::anonymous());
    let claim = Instance { group_name: PLATFORM_GROUP.to_owned(), ..instance(service, 7003) };
    refused(registry.register(&anonymous, register(claim)).await, Code::Forbidden, "an anonymous platform service");
}

async fn next(stream: &mut WatchStream) -> (Event, String) {
    let item = tokio::time::timeout(PATIENCE, stream.next()).await.expect("an event within the limit");
    let response = item.expect("the stream goes on").expect("an event");
    (response.event.expect("an event"), response.resume_token)
}

async fn a_watch_resumes_without_a_gap(registry: &dyn Registry, service: &str) {
    let ctx = Ctx::service("contract").unbounded();
    let request = WatchRequest {
        group_names: vec!["contract".to_owned()],
        service_name: service.to_owned(),
        ..Default::default()
    };
    let mut stream = registry.watch(&ctx, request.clone()).await.expect("watches");
    let token = loop {
        if let (Event::Synced(_), token) = next(&mut stream).await {
            break token;
        }
    };
    drop(stream);
    for port in 7001..7004 {
        registry.register(&ctx, register(instance(service, port))).await.expect("registers");
    }
    let mut stream = registry.watch(&ctx, WatchRequest { resume_token: token, ..request }).await.expect("resumes");
    let mut ports = Vec::new();
    while ports.len() < 3 {
        match next(&mut stream).await.0 {
            Event::Upserted(instance) => ports.push(instance.port_number),
            Event::Synced(_) => {}
            other => panic!("a resumed watch must not say {other:?}"),
        }
    }
    assert_eq!(ports, [7001, 7002, 7003]);
}

async fn the_deadline_is_kept(registry: &dyn Registry) {
    let mut ctx = Ctx::service("contract");
    ctx.deadline = Some(Instant::now() - Duration::from_millis(1));
    refused(
        ctx.bound(registry.discover(&ctx, DiscoverRequest { service_name: "x".to_owned(), ..Default::default() }))
            .await,
        Code::Timeout,
        "a call past its deadline",
    );
}
