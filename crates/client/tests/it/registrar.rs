use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use sker_api::{Ctx, Registry, WatchStream};
use sker_client::Registrar;
use sker_error::{Error, Result};
use sker_proto::registry::*;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::server::PATIENCE;

#[derive(Debug, PartialEq)]
enum Call {
    Register(String),
    Heartbeat(String),
    Deregister(String),
}

/// Writes down every call; away and forgetful when told.
struct Fake {
    calls: mpsc::UnboundedSender<Call>,
    away: AtomicBool,
    forgetful: AtomicBool,
    /// Takes no other metadata than at first.
    refusing: AtomicBool,
    /// Registrations with other metadata than at first wait for a permit.
    slow: Semaphore,
}

impl Fake {
    fn note(&self, call: Call) -> Result<()> {
        self.calls.send(call).unwrap();
        if self.away.load(Ordering::SeqCst) { Err(Error::unavailable("away")) } else { Ok(()) }
    }
}

#[async_trait]
impl Registry for Fake {
    async fn register(&self, ctx: &Ctx, request: RegisterRequest) -> Result<RegisterResponse> {
        assert!(ctx.principal.is_service());
        let instance = request.instance.unwrap();
        self.note(Call::Register(instance.metadata_json.clone()))?;
        self.forgetful.store(false, Ordering::SeqCst);
        if self.refusing.load(Ordering::SeqCst) {
            return Err(Error::invalid_request("not these"));
        }
        if instance.metadata_json != "{}" {
            self.slow.acquire().await.unwrap().forget();
        }
        Ok(RegisterResponse { instance: Some(Instance { instance_id: "i-1".to_owned(), ..instance }), created: true })
    }

    async fn heartbeat(&self, _: &Ctx, request: HeartbeatRequest) -> Result<HeartbeatResponse> {
        self.note(Call::Heartbeat(request.instance_ids.join(",")))?;
        let unknown = if self.forgetful.load(Ordering::SeqCst) { request.instance_ids } else { Vec::new() };
        Ok(HeartbeatResponse { renewed: 1, unknown })
    }

    async fn deregister(&self, _: &Ctx, request: DeregisterRequest) -> Result<DeregisterResponse> {
        self.note(Call::Deregister(request.instance_id))?;
        Ok(DeregisterResponse {})
    }

    async fn discover(&self, _: &Ctx, _: DiscoverRequest) -> Result<DiscoverResponse> {
        Err(Error::not_found("service"))
    }

    async fn list_services(&self, _: &Ctx, _: ListServicesRequest) -> Result<ListServicesResponse> {
        Err(Error::not_found("service"))
    }

    async fn watch(&self, _: &Ctx, _: WatchRequest) -> Result<WatchStream> {
        Err(Error::not_found("service"))
    }
}

struct Registering {
    fake: Arc<Fake>,
    calls: mpsc::UnboundedReceiver<Call>,
    registrar: Registrar,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<()>,
}

fn start(away: bool) -> Registering {
    let (sender, calls) = mpsc::unbounded_channel();
    let fake = Arc::new(Fake {
        calls: sender,
        away: away.into(),
        forgetful: false.into(),
        refusing: false.into(),
        slow: Semaphore::new(0),
    });
    let instance = Instance { metadata_json: "{}".to_owned(), heartbeat_interval_seconds: 1, ..Instance::default() };
    let registrar = Registrar::new(Arc::clone(&fake) as Arc<dyn Registry>, "store", instance);
    let (stop, runs) = (CancellationToken::new(), registrar.clone());
    let token = stop.clone();
    let running = tokio::spawn(async move { runs.run(token).await });
    Registering { fake, calls, registrar, stop, running }
}

impl Registering {
    async fn call(&mut self) -> Call {
        tokio::time::timeout(PATIENCE, self.calls.recv()).await.unwrap().unwrap()
    }

    async fn end(mut self) {
        self.stop.cancel();
        while self.call().await != Call::Deregister("i-1".to_owned()) {}
        tokio::time::timeout(PATIENCE, self.running).await.unwrap().unwrap();
        assert!(!self.registrar.state().registered);
    }
}

fn register() -> Call {
    Call::Register("{}".to_owned())
}

#[tokio::test]
async fn an_instance_is_registered_kept_alive_and_deregistered() {
    let mut registering = start(false);
    assert_eq!(registering.call().await, register());
    for _ in 0..2 {
        assert_eq!(registering.call().await, Call::Heartbeat("i-1".to_owned()));
    }
    assert!(registering.registrar.state().registered);
    registering.end().await;
}

#[tokio::test]
async fn a_registry_that_is_away_is_tried_until_it_is_back() {
    let mut registering = start(true);
    for _ in 0..3 {
        assert_eq!(registering.call().await, register());
    }
    assert!(registering.registrar.state().last_error.is_some());
    registering.fake.away.store(false, Ordering::SeqCst);
    while registering.call().await != Call::Heartbeat("i-1".to_owned()) {}
    assert_eq!(registering.registrar.state().last_error, None);
    registering.end().await;
}

#[tokio::test]
async fn an_instance_that_was_forgotten_registers_again_at_once() {
    let mut registering = start(false);
    assert_eq!(registering.call().await, register());
    registering.fake.forgetful.store(true, Ordering::SeqCst);
    assert_eq!(registering.call().await, Call::Heartbeat("i-1".to_owned()));
    assert_eq!(registering.call().await, register());
    registering.end().await;
}

#[tokio::test]
async fn new_metadata_reaches_the_registry_at_once() {
    let mut registering = start(false);
    assert_eq!(registering.call().await, register());
    registering.fake.slow.add_permits(1);
    registering.registrar.set_metadata("{\"a\":1}".to_owned()).await.unwrap();
    assert_eq!(registering.call().await, Call::Register("{\"a\":1}".to_owned()));
    registering.end().await;
}

#[tokio::test]
async fn metadata_that_the_registry_could_not_take_reach_it_when_it_is_back() {
    let mut registering = start(false);
    assert_eq!(registering.call().await, register());
    registering.fake.away.store(true, Ordering::SeqCst);
    registering.registrar.set_metadata("{\"a\":1}".to_owned()).await.unwrap_err();
    assert!(registering.registrar.state().changed);
    registering.fake.slow.add_permits(10);
    registering.fake.away.store(false, Ordering::SeqCst);
    assert_eq!(registering.call().await, Call::Register("{\"a\":1}".to_owned()));
    while registering.call().await != Call::Heartbeat("i-1".to_owned()) {}
    assert!(!registering.registrar.state().changed);
    registering.end().await;
}

#[tokio::test]
async fn metadata_that_the_registry_refuses_do_not_cost_the_registration() {
    let mut registering = start(false);
    assert_eq!(registering.call().await, register());
    registering.fake.refusing.store(true, Ordering::SeqCst);
    registering.registrar.set_metadata("{\"a\":1}".to_owned()).await.unwrap_err();
    let mut heartbeats = 0;
    while heartbeats < 3 {
        heartbeats += u32::from(registering.call().await == Call::Heartbeat("i-1".to_owned()));
    }
    assert!(registering.registrar.state().changed, "it is still to be told");
    registering.end().await;
}

#[tokio::test]
async fn new_metadata_on_their_way_do_not_bring_back_an_instance_that_leaves() {
    let mut registering = start(false);
    assert_eq!(registering.call().await, register());
    let registrar = registering.registrar.clone();
    let setting = tokio::spawn(async move { registrar.set_metadata("{\"a\":1}".to_owned()).await });
    assert_eq!(registering.call().await, Call::Register("{\"a\":1}".to_owned()));
    registering.stop.cancel();
    // The registration is still on its way. Whatever comes now, the farewell comes last.
    registering.fake.slow.add_permits(1);
    setting.await.unwrap().unwrap();
    while registering.call().await != Call::Deregister("i-1".to_owned()) {}
    tokio::time::timeout(PATIENCE, registering.running).await.unwrap().unwrap();
    let late = registering.registrar.set_metadata("{\"a\":2}".to_owned()).await;
    assert_eq!(late.unwrap_err().code(), sker_error::Code::Unavailable);
    assert!(registering.calls.try_recv().is_err(), "nothing is said after the farewell");
    assert!(!registering.registrar.state().registered);
}
