use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::{Map, json};
use sker_types::{Time, from_micros};
use tokio_util::sync::CancellationToken;

use super::{Engine, ExpiryRules, Journal, Registered, Registration, StoredInstance, Waiting, WorkingSet};
use crate::app::{
    clock::Clock,
    model::{Cause, Event, Health, Instance, ServiceEntry, ServiceKey, Spec, Status},
};

/// A clock that stands still until it is told otherwise.
#[derive(Default)]
pub(super) struct StoppedClock(AtomicU64);

impl StoppedClock {
    pub(super) fn advance(&self, duration: Duration) {
        self.0.fetch_add(u64::try_from(duration.as_millis()).unwrap(), Ordering::Relaxed);
    }
}

impl Clock for StoppedClock {
    fn monotonic_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn now(&self) -> Time {
        from_micros(1_700_000_000_000_000 + i64::try_from(self.monotonic_ms()).unwrap() * 1_000)
    }
}

pub(super) struct NoJournal;

impl Journal for NoJournal {
    fn record(&self, _: &Arc<Event>) {}
}

pub(super) fn engine_with(ring: usize, stored: WorkingSet) -> (Arc<Engine>, Arc<StoppedClock>) {
    let clock = Arc::new(StoppedClock::default());
    let journal = Arc::new(NoJournal);
    let closed = CancellationToken::new();
    (Engine::new(clock.clone(), ExpiryRules::default(), ring, journal, stored, closed), clock)
}

fn engine() -> (Arc<Engine>, Arc<StoppedClock>) {
    engine_with(1_000, WorkingSet::default())
}

pub(super) fn cause() -> Cause {
    Cause::registry("test")
}

pub(super) fn key(service: &str) -> ServiceKey {
    ServiceKey::new("default", "default", service)
}

pub(super) fn registration(service: &str, port: u16) -> Registration {
    let spec = Spec {
        host: "127.0.0.1".to_owned(),
        port,
        context_path: String::new(),
        status: Status::Up,
        weight: 100,
        client_type: "SERVICE".to_owned(),
        metadata: Map::new(),
        tags: Vec::new(),
        ephemeral: true,
        heartbeat_interval_seconds: 5,
        heartbeat_timeout_seconds: 15,
        evict_after_seconds: 30,
    };
    Registration { key: key(service), spec, health: Health::Healthy, trusted: false }
}

fn register(engine: &Engine, service: &str, port: u16) -> Registered {
    engine.register(registration(service, port), &cause())
}

fn health(engine: &Engine, instance: &Instance) -> Option<Health> {
    engine.instance(instance.id).map(|instance| instance.health())
}

/// Lets time pass as it does for a process that is well: a scan every second.
fn live(engine: &Engine, clock: &StoppedClock, seconds: u64) {
    for _ in 0..seconds {
        clock.advance(Duration::from_secs(1));
        engine.scan();
    }
}

fn protect(engine: &Engine, service: &str, threshold: f64) {
    let entry = |now: Time| ServiceEntry {
        key: Arc::new(key(service)),
        description: String::new(),
        protocol_type: "HTTP".to_owned(),
        context_path: String::new(),
        load_balance_strategy: "ROUND_ROBIN".to_owned(),
        health_check_url: String::new(),
        health_check_interval_seconds: 30,
        protection_threshold: threshold,
        metadata: Map::new(),
        tags: Vec::new(),
        active: true,
        created_at: now,
        updated_at: now,
    };
    engine.describe_service(&key(service), &cause(), |_| Ok(Some(entry(engine.now())))).unwrap();
}

#[test]
fn registering_again_is_the_same_instance_and_no_change_is_no_revision() {
    let (engine, _) = engine();
    let first = register(&engine, "a", 1);
    let revision = engine.snapshot(&key("a")).revision;
    let again = register(&engine, "a", 1);
    assert!(first.created && !again.created);
    assert_eq!(again.instance.id, first.instance.id);
    assert_eq!(engine.snapshot(&key("a")).revision, revision);
    let mut other = registration("a", 1);
    other.spec.metadata.insert("version".to_owned(), json!("2"));
    let changed = engine.register(other, &cause());
    assert_eq!((changed.created, changed.instance.id), (false, first.instance.id));
    assert!(engine.snapshot(&key("a")).revision > revision);
}

#[test]
fn a_change_of_one_service_moves_no_other_revision() {
    let (engine, _) = engine();
    register(&engine, "a", 1);
    let before = engine.snapshot(&key("a")).revision;
    register(&engine, "b", 1);
    assert_eq!(engine.snapshot(&key("a")).revision, before);
}

#[test]
fn without_heartbeats_an_instance_is_unhealthy_then_gone() {
    let (engine, clock) = engine();
    let instance = register(&engine, "a", 1).instance;
    live(&engine, &clock, 15);
    assert_eq!(health(&engine, &instance), Some(Health::Healthy));
    live(&engine, &clock, 1);
    assert_eq!(health(&engine, &instance), Some(Health::Unhealthy));
    live(&engine, &clock, 14);
    assert_eq!(health(&engine, &instance), Some(Health::Unhealthy));
    live(&engine, &clock, 1);
    assert_eq!(health(&engine, &instance), None);
    assert!(!engine.heartbeat(&instance, None), "a client that comes back must register again");
    assert_eq!(engine.snapshot(&key("a")).instances.len(), 0);
}

#[test]
fn a_heartbeat_makes_it_healthy_again() {
    let (engine, clock) = engine();
    let instance = register(&engine, "a", 1).instance;
    live(&engine, &clock, 20);
    let expired = engine.instance(instance.id).unwrap();
    assert_eq!(expired.health(), Health::Unhealthy);
    assert!(engine.heartbeat(&expired, Some(7)));
    assert_eq!(health(&engine, &instance), Some(Health::Healthy));
    assert_eq!(expired.lease.active_connections(), 7);
    live(&engine, &clock, 15);
    assert_eq!(health(&engine, &instance), Some(Health::Healthy));
}

#[test]
fn persistent_instances_stay_without_heartbeats() {
    let (engine, clock) = engine();
    let mut persistent = registration("a", 1);
    persistent.spec.ephemeral = false;
    let instance = engine.register(persistent, &cause()).instance;
    live(&engine, &clock, 100);
    assert_eq!(health(&engine, &instance), Some(Health::Healthy));
}

#[test]
fn a_two_minute_pause_of_ours_evicts_nobody() {
    let (engine, clock) = engine();
    let instance = register(&engine, "a", 1).instance;
    live(&engine, &clock, 10);
    clock.advance(Duration::from_secs(120));
    engine.scan();
    assert_eq!(health(&engine, &instance), Some(Health::Healthy));
    // Five seconds of grace for its next heartbeat, and then its lease goes on from where it was.
    live(&engine, &clock, 9);
    assert_eq!(health(&engine, &instance), Some(Health::Healthy));
    live(&engine, &clock, 2);
    assert_eq!(health(&engine, &instance), Some(Health::Unhealthy));
    assert_eq!(engine.counters().stalls.load(Ordering::Relaxed), 1);
}

#[test]
fn a_heartbeat_heard_right_after_a_pause_of_ours_lasts_no_longer_than_any_other() {
    let (engine, clock) = engine();
    let instance = register(&engine, "orders", 1).instance;
    live(&engine, &clock, 2);
    clock.advance(Duration::from_secs(3_600));
    // It waited in the socket's buffer; its sender may be long gone.
    assert!(engine.heartbeat(&instance, None));
    engine.scan();
    live(&engine, &clock, 60);
    assert_eq!(health(&engine, &instance), None);
}

#[test]
fn a_restart_evicts_nobody_and_revisions_go_on() {
    let stored = StoredInstance {
        id: sker_types::new_id(),
        registration: registration("a", 1),
        status_override: Some(Status::OutOfService),
        registered_at: from_micros(1),
        revision: 5_000_000_000_000_000,
    };
    let id = stored.id;
    let max_revision = stored.revision;
    let set = WorkingSet { instances: vec![stored], max_revision, ..WorkingSet::default() };
    let (engine, clock) = engine_with(10, set);
    live(&engine, &clock, 15);
    let loaded = engine.instance(id).unwrap();
    assert_eq!((loaded.health(), loaded.status()), (Health::Healthy, Status::OutOfService));
    assert!(engine.snapshot(&key("a")).revision > max_revision);
    assert!(!register(&engine, "a", 1).created, "the endpoint is known");
}

#[test]
fn an_override_outlives_a_reconnect() {
    let (engine, _) = engine();
    let id = register(&engine, "a", 1).instance.id;
    engine.override_status(id, Some(Status::OutOfService), &cause());
    let mut again = registration("a", 1);
    again.spec.weight = 1;
    engine.register(again, &cause());
    assert_eq!(engine.instance(id).unwrap().status(), Status::OutOfService);
    engine.override_status(id, None, &cause());
    assert_eq!(engine.instance(id).unwrap().status(), Status::Up);
}

#[test]
fn too_many_that_vanish_at_once_are_kept_and_it_is_said() {
    let (engine, clock) = engine();
    protect(&engine, "a", 0.5);
    let instances: Vec<_> = (1..=4).map(|port| register(&engine, "a", port).instance).collect();
    for _ in 0..40 {
        live(&engine, &clock, 1);
        assert!(engine.heartbeat(&instances[0], None));
    }
    let snapshot = engine.snapshot(&key("a"));
    assert!(snapshot.protected);
    assert_eq!(snapshot.instances.len(), 4);
    for instance in &instances {
        assert!(engine.heartbeat(&engine.instance(instance.id).unwrap(), None));
    }
    live(&engine, &clock, 1);
    assert!(!engine.snapshot(&key("a")).protected);
}

#[test]
fn protection_ends_after_its_limit_so_that_the_dead_do_not_stay() {
    let (engine, clock) = engine();
    protect(&engine, "a", 0.9);
    register(&engine, "a", 1);
    live(&engine, &clock, 20);
    assert!(engine.snapshot(&key("a")).protected);
    live(&engine, &clock, 640);
    let snapshot = engine.snapshot(&key("a"));
    assert_eq!((snapshot.protected, snapshot.instances.len()), (false, 0));
}

#[test]
fn a_few_that_vanish_are_removed_under_the_threshold() {
    let (engine, clock) = engine();
    protect(&engine, "a", 0.5);
    let instances: Vec<_> = (1..=4).map(|port| register(&engine, "a", port).instance).collect();
    for _ in 0..40 {
        live(&engine, &clock, 1);
        instances[1..].iter().for_each(|instance| assert!(engine.heartbeat(instance, None)));
    }
    let snapshot = engine.snapshot(&key("a"));
    assert_eq!((snapshot.protected, snapshot.instances.len()), (false, 3));
}

#[test]
fn what_is_left_of_nothing_is_forgotten_but_its_revision_never_falls() {
    let (engine, clock) = engine();
    let id = register(&engine, "a", 1).instance.id;
    engine.deregister(id, None, &cause()).unwrap();
    let last = engine.snapshot(&key("a")).revision;
    assert_eq!(engine.sizes().0, 1);
    live(&engine, &clock, 400);
    assert_eq!(engine.sizes().0, 0);
    let forgotten = engine.snapshot(&key("a")).revision;
    assert!(forgotten >= last);
    register(&engine, "a", 1);
    assert!(engine.snapshot(&key("a")).revision > forgotten);
}

#[test]
fn thousands_that_vanish_at_once_go_in_one_scan() {
    let (engine, clock) = engine_with(100_000, WorkingSet::default());
    for port in 1..=10_000 {
        register(&engine, "a", port);
    }
    live(&engine, &clock, 31);
    assert_eq!(engine.snapshot(&key("a")).instances.len(), 0);
    assert_eq!(engine.counters().expirations.load(Ordering::Relaxed), 10_000);
}

#[test]
fn a_ring_that_is_full_forgets_its_oldest_and_says_so() {
    let (engine, _) = engine_with(3, WorkingSet::default());
    let start = engine.ring().head();
    for port in 1..=3 {
        register(&engine, "a", port);
    }
    assert_eq!(engine.ring().after(start, 10).unwrap().len(), 3);
    register(&engine, "a", 4);
    assert!(engine.ring().after(start, 10).is_none());
    assert_eq!(engine.ring().after(start + 1, 2).unwrap().len(), 2);
    assert!(engine.ring().after(engine.ring().head(), 10).unwrap().is_empty());
    assert!(engine.ring().after(engine.ring().head() + 1, 10).is_none(), "nobody can have seen the future");
}

#[tokio::test]
async fn a_blocking_read_wakes_on_its_service_and_on_a_service_that_is_not_there_yet() {
    let (engine, _) = engine();
    let unknown = engine.snapshot(&key("a")).revision;
    let waiting = {
        let engine = engine.clone();
        async move { engine.wait(&key("a"), unknown, Duration::from_secs(20)).await }
    };
    let (outcome, ()) = tokio::join!(waiting, async {
        register(&engine, "other", 1);
        register(&engine, "a", 1);
    });
    assert_eq!(outcome, Waiting::Changed);
    let known = engine.snapshot(&key("a")).revision;
    assert_eq!(engine.wait(&key("a"), known, Duration::from_millis(1)).await, Waiting::Over);
    assert_eq!(engine.wait(&key("a"), known - 1, Duration::from_secs(20)).await, Waiting::Changed);
    engine.closed().cancel();
    assert_eq!(engine.wait(&key("a"), known, Duration::from_secs(600)).await, Waiting::Over);
}
