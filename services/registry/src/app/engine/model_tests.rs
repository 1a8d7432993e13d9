//! Any sequence of calls against a model that is too simple to be wrong.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt};
use proptest::prelude::*;
use serde_json::json;
use sker_api::Ctx;
use sker_types::{Principal, Uuid};

use super::{
    Engine, WorkingSet,
    tests::{StoppedClock, cause, engine_with, key, registration},
};
use crate::app::{
    AccessRules, Anonymous, Scope,
    model::{Health, Status},
    watch::{Followed, Interest, Step, follow},
};

const SERVICES: [&str; 3] = ["a", "b", "c"];

#[derive(Clone, Debug)]
enum Call {
    Register { service: usize, port: u16, version: u8 },
    Deregister { service: usize, port: u16 },
    Heartbeat { service: usize, port: u16 },
    Health { service: usize, port: u16, health: Health },
    Override { service: usize, port: u16, status: Option<Status> },
    Wait { seconds: u64 },
}

fn call() -> impl Strategy<Value = Call> {
    let place = || (0..SERVICES.len(), 1..5_u16);
    let health = prop_oneof![Just(Health::Healthy), Just(Health::Unhealthy)];
    let status = prop_oneof![Just(None), Just(Some(Status::Down)), Just(Some(Status::OutOfService))];
    prop_oneof![
        4 => (place(), 0..3_u8).prop_map(|((service, port), version)| Call::Register { service, port, version }),
        2 => place().prop_map(|(service, port)| Call::Deregister { service, port }),
        3 => place().prop_map(|(service, port)| Call::Heartbeat { service, port }),
        1 => (place(), health).prop_map(|((service, port), health)| Call::Health { service, port, health }),
        1 => (place(), status).prop_map(|((service, port), status)| Call::Override { service, port, status }),
        2 => (1..20_u64).prop_map(|seconds| Call::Wait { seconds }),
    ]
}

/// What the model knows of an instance.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    id: Uuid,
    version: u8,
    health: Health,
    status: Option<Status>,
    age: u64,
    expired: bool,
}

type Model = BTreeMap<(usize, u16), Known>;

struct Run {
    engine: Arc<Engine>,
    clock: Arc<StoppedClock>,
    model: Model,
}

impl Run {
    fn apply(&mut self, call: &Call) {
        match *call {
            Call::Register { service, port, version } => {
                let mut wanted = registration(SERVICES[service], port);
                wanted.spec.metadata.insert("version".to_owned(), json!(version));
                let done = self.engine.register(wanted, &cause());
                let before = self.model.get(&(service, port));
                assert_eq!(done.created, before.is_none());
                let status = before.and_then(|known| known.status);
                let known =
                    Known { id: done.instance.id, version, health: Health::Healthy, status, age: 0, expired: false };
                assert!(before.is_none_or(|before| before.id == known.id), "an endpoint keeps its id");
                self.model.insert((service, port), known);
            }
            Call::Deregister { service, port } => {
                if let Some(known) = self.model.remove(&(service, port)) {
                    assert!(self.engine.deregister(known.id, None, &cause()).is_some());
                    assert!(self.engine.deregister(known.id, None, &cause()).is_none());
                }
            }
            Call::Heartbeat { service, port } => {
                if let Some(known) = self.model.get_mut(&(service, port)) {
                    let instance = self.engine.instance(known.id).expect("the model knows it");
                    assert!(self.engine.heartbeat(&instance, None));
                    (known.age, known.expired) = (0, false);
                }
            }
            Call::Health { service, port, health } => {
                if let Some(known) = self.model.get_mut(&(service, port)) {
                    self.engine.set_health(known.id, health, &cause()).expect("the model knows it");
                    (known.age, known.expired, known.health) = (0, false, health);
                }
            }
            Call::Override { service, port, status } => {
                if let Some(known) = self.model.get_mut(&(service, port)) {
                    self.engine.override_status(known.id, status, &cause()).expect("the model knows it");
                    known.status = status;
                }
            }
            Call::Wait { seconds } => (0..seconds).for_each(|_| self.second()),
        }
    }

    fn second(&mut self) {
        self.clock.advance(Duration::from_secs(1));
        self.engine.scan();
        self.model.retain(|_, known| {
            known.age += 1;
            let gone = known.expired && known.age > 30;
            known.expired = known.age > 15;
            !gone
        });
    }

    fn check(&self) {
        let mut found = BTreeMap::new();
        for (index, service) in SERVICES.iter().enumerate() {
            for instance in &self.engine.snapshot(&key(service)).instances {
                let indexed = self.engine.instance(instance.id).expect("the index knows what the snapshot has");
                assert!(Arc::ptr_eq(&indexed, instance), "index and snapshot have the same version");
                found.insert((index, instance.spec.port), (instance.id, instance.health(), instance.status()));
            }
        }
        let expected: BTreeMap<_, _> = self
            .model
            .iter()
            .map(|(place, known)| {
                let health = if known.expired { Health::Unhealthy } else { known.health };
                (*place, (known.id, health, known.status.unwrap_or(Status::Up)))
            })
            .collect();
        assert_eq!(found, expected);
        assert_eq!(self.engine.sizes().1, self.model.len());
    }

    fn revisions(&self) -> Vec<u64> {
        SERVICES.iter().map(|service| self.engine.snapshot(&key(service)).revision).collect()
    }
}

fn scope() -> Scope {
    let rules = AccessRules { auth_enabled: false, anonymous: Anonymous::Everybody };
    rules.admit(&Ctx::new(Principal::anonymous()), true).unwrap()
}

/// What a follower makes of a stream: the state, and where to resume.
#[derive(Default)]
struct Follower {
    state: BTreeMap<Uuid, (u64, Health, Status)>,
    token: String,
    resets: usize,
}

impl Follower {
    /// Reads all there is now, without waiting.
    fn catch_up(&mut self, engine: &Arc<Engine>) {
        let mut stream = Box::pin(follow(engine.clone(), scope(), Interest::default(), &self.token));
        while let Some(Some(item)) = stream.next().now_or_never() {
            let Followed { step, token } = item.unwrap();
            match step {
                Step::Reset => {
                    self.state.clear();
                    self.resets += 1;
                }
                Step::Upserted(instance) => {
                    let now = (instance.revision, instance.health(), instance.status());
                    let before = self.state.insert(instance.id, now);
                    assert!(before.is_none_or(|before| before.0 < now.0), "a follower never goes back");
                }
                Step::Removed(instance) => assert!(self.state.remove(&instance.id).is_some(), "removed once"),
                Step::Synced => assert!(!token.is_empty()),
            }
            self.token = token;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_calls_agrees_with_the_model(
        calls in prop::collection::vec(call(), 1..80),
        ring in prop_oneof![Just(4_usize), Just(100_000)],
        every in 1..10_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _entered = runtime.enter();
        let (engine, clock) = engine_with(ring, WorkingSet::default());
        let mut run = Run { engine: engine.clone(), clock, model: Model::new() };
        let mut follower = Follower::default();
        for (index, call) in calls.iter().enumerate() {
            let before = run.revisions();
            run.apply(call);
            run.check();
            let after = run.revisions();
            prop_assert!(before.iter().zip(&after).all(|(before, after)| before <= after), "a revision fell");
            if index % every == 0 {
                follower.catch_up(&engine);
            }
        }
        follower.catch_up(&engine);
        let state: BTreeMap<_, _> = SERVICES
            .iter()
            .flat_map(|service| engine.snapshot(&key(service)).instances.clone())
            .map(|instance| (instance.id, (instance.revision, instance.health(), instance.status())))
            .collect();
        prop_assert_eq!(&follower.state, &state);
        if ring > 4 {
            prop_assert_eq!(follower.resets, 1, "with room in the ring only the beginning is a snapshot");
        }
    }
}
