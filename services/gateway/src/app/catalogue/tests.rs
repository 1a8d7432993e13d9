use http::Method;
use serde_json::{Value, json};
use sker_proto::registry::{Reset, Synced};

use super::*;
use crate::app::table::Match;

fn rules() -> Rules {
    Rules {
        groups: vec!["partners".into()],
        missing_grace: Duration::from_secs(30),
        retain: Duration::from_secs(600),
        fixed: Vec::new(),
    }
}

fn instance(id: &str, service: &str, routes: Value) -> Instance {
    Instance {
        instance_id: id.into(),
        tenant_id: "default".into(),
        group_name: PLATFORM_GROUP.into(),
        service_name: service.into(),
        host_address: "127.0.0.1".into(),
        port_number: 8000 + id.len() as u32,
        instance_status: "UP".into(),
        health_status: "UNKNOWN".into(),
        metadata_json: json!({"routes": routes}).to_string(),
        registered_at_us: 1,
        trusted: true,
        ..Instance::default()
    }
}

fn event(event: Event) -> WatchResponse {
    WatchResponse { event: Some(event), resume_token: String::new() }
}

struct World {
    catalogue: Catalogue,
    now: Instant,
}

impl World {
    fn new() -> Self {
        World { catalogue: Catalogue::new(rules()), now: Instant::now() }
    }

    fn apply(&mut self, what: Event) -> bool {
        self.catalogue.apply(event(what), self.now)
    }

    fn snapshot(&mut self, instances: &[Instance]) {
        self.apply(Event::Reset(Reset {}));
        for instance in instances {
            self.apply(Event::Upserted(instance.clone()));
        }
        self.apply(Event::Synced(Synced {}));
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.catalogue.expire(self.now);
    }

    /// The ids of the instances that serve a path; `None` when it leads to no route.
    fn serving(&self, path: &str) -> Option<Vec<String>> {
        match self.catalogue.table().find(&Method::GET, path) {
            Match::Route(route) => Some(route.upstreams.iter().map(|one| one.instance_id.clone()).collect()),
            _ => None,
        }
    }
}

#[test]
fn an_untrusted_registration_changes_no_route_and_is_shown() {
    let mut world = World::new();
    world.snapshot(&[instance("s", "store", json!([{"path": "/api/v1/*"}]))]);
    let mut fake = instance("fake", "store", json!([{"path": "/api/v1/auth/login", "auth": "none"}]));
    fake.trusted = false;
    world.apply(Event::Upserted(fake.clone()));
    fake.group_name = "default".into();
    fake.instance_id = "fake2".into();
    world.apply(Event::Upserted(fake));
    assert_eq!(world.serving("/api/v1/auth/login"), Some(vec!["s".to_owned()]));
    let table = world.catalogue.table();
    assert_eq!((table.routes.len(), table.conflicts.len()), (1, 2));
    assert_eq!(table.conflicts[0].path, "/api/v1/auth/login");
}

#[test]
fn an_allowed_group_may_not_claim_what_is_the_platforms() {
    let mut world = World::new();
    let routes = json!([{"path": "/api/v1/auth/login"}, {"path": "/api/database/*"}, {"path": "/ws"}, {"path": "/shop/*"},
        {"path": "/metrics"}]);
    let mut partner = instance("p", "shop", routes);
    partner.group_name = "partners".into();
    partner.trusted = false;
    world.snapshot(std::slice::from_ref(&partner));
    assert_eq!(world.serving("/shop/cart"), Some(vec!["p".to_owned()]));
    assert_eq!(world.serving("/api/v1/auth/login"), None);
    assert_eq!(world.catalogue.table().conflicts.len(), 4);
    partner.tenant_id = "other".into();
    world.apply(Event::Upserted(partner));
    assert_eq!(world.serving("/shop/cart"), None);
}

#[test]
fn of_two_claims_the_first_stays_until_it_is_gone() {
    let mut world = World::new();
    let first = instance("a", "store", json!([{"path": "/api/v1/*"}]));
    let mut second = instance("b", "other", json!([{"path": "/api/v1/*"}]));
    second.registered_at_us = 2;
    world.snapshot(&[second, first.clone()]);
    assert_eq!(world.serving("/api/v1/x"), Some(vec!["a".to_owned()]));
    let conflict = world.catalogue.table().conflicts[0].clone();
    assert_eq!((conflict.owner.service.as_str(), conflict.path.as_str()), ("other", "/api/v1/*"));
    world.apply(Event::Removed(first));
    assert_eq!(world.serving("/api/v1/x"), Some(vec!["b".to_owned()]));
    assert!(
        world.catalogue.table().conflicts.is_empty() || world.catalogue.table().conflicts[0].owner.service == "store"
    );
}

#[test]
fn two_services_may_share_a_path_by_method() {
    let mut world = World::new();
    let reads = json!({"path": "/api/database/*", "methods": ["GET"], "auth": "user"});
    let writes = json!({"path": "/api/database/*", "methods": ["POST", "PUT", "DELETE"], "auth": "admin"});
    world.snapshot(&[instance("d", "database", json!([reads, writes]))]);
    let table = world.catalogue.table();
    assert_eq!(table.routes.len(), 2);
    let Match::Route(route) = table.find(&Method::POST, "/api/database/x") else { panic!("no route") };
    assert_eq!(route.spec.access, crate::app::route::Access::Admin);
    assert!(matches!(table.find(&Method::PATCH, "/api/database/x"), Match::MethodNotAllowed(_)));
}

#[test]
fn instances_of_a_service_share_its_routes_while_they_are_up_and_healthy() {
    let mut world = World::new();
    let routes = json!([{"path": "/api/v1/*"}]);
    let mut three = [
        instance("a", "store", routes.clone()),
        instance("bb", "store", routes.clone()),
        instance("ccc", "store", routes),
    ];
    world.snapshot(&three);
    assert_eq!(world.serving("/api/v1/x").unwrap().len(), 3);
    three[0].health_status = "UNHEALTHY".into();
    three[1].instance_status = "OUT_OF_SERVICE".into();
    for one in three {
        world.apply(Event::Upserted(one));
    }
    assert_eq!(world.serving("/api/v1/x"), Some(vec!["ccc".to_owned()]));
}

#[test]
fn a_registry_that_lost_its_memory_takes_no_route_away_at_once() {
    let mut world = World::new();
    let store = instance("a", "store", json!([{"path": "/api/v1/*"}]));
    world.snapshot(&[store]);
    world.snapshot(&[]);
    assert_eq!(world.serving("/api/v1/x"), Some(vec!["a".to_owned()]));
    world.pass(31);
    assert_eq!(world.serving("/api/v1/x"), Some(Vec::new()), "the route is known and nobody serves it");
    world.pass(601);
    assert_eq!(world.serving("/api/v1/x"), None);
}

#[test]
fn a_new_version_of_a_service_takes_its_old_routes_along_when_the_old_one_goes() {
    let mut world = World::new();
    let old = instance("a", "shop", json!([{"path": "/old/*"}, {"path": "/both/*", "auth": "none"}]));
    let mut new = instance("bb", "shop", json!([{"path": "/both/*", "auth": "admin"}]));
    new.registered_at_us = 2;
    world.snapshot(&[old.clone(), new]);
    assert_eq!(world.serving("/both/x"), Some(vec!["a".to_owned()]));
    world.apply(Event::Removed(old));
    assert_eq!(world.serving("/both/x"), Some(vec!["bb".to_owned()]));
    assert_eq!(world.serving("/old/x"), None);
}

#[test]
fn a_heartbeat_changes_nothing() {
    let mut world = World::new();
    let mut store = instance("a", "store", json!([{"path": "/api/v1/*"}]));
    world.snapshot(std::slice::from_ref(&store));
    store.last_heartbeat_at_us = 7;
    store.active_connections = 3;
    store.health_status = "HEALTHY".into();
    assert!(!world.apply(Event::Upserted(store.clone())));
    store.health_status = "UNHEALTHY".into();
    assert!(world.apply(Event::Upserted(store)));
}

#[test]
fn an_unusable_route_is_shown_and_harms_no_other() {
    let mut world = World::new();
    world.snapshot(&[instance("a", "store", json!([{"path": "nonsense"}, {"path": "/api/v1/*"}]))]);
    assert!(world.serving("/api/v1/x").is_some());
    assert_eq!(world.catalogue.table().conflicts.len(), 1);
}
