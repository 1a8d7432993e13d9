use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use futures::{FutureExt, StreamExt, stream};
use sker_api::{Ctx, Registry, WatchStream};
use sker_error::{Error, Result};
use sker_proto::registry::{
    DeregisterRequest, DeregisterResponse, DiscoverRequest, DiscoverResponse, HeartbeatRequest, HeartbeatResponse,
    Instance, ListServicesRequest, ListServicesResponse, RegisterRequest, RegisterResponse, Reset, Synced,
    WatchRequest, WatchResponse, watch_response::Event,
};
use sker_types::new_id;
use tokio::sync::{mpsc, watch};

#[derive(Default)]
struct State {
    instances: BTreeMap<String, Instance>,
    watchers: Vec<mpsc::UnboundedSender<Event>>,
    deregistered: Vec<String>,
    away: bool,
}

/// A registry that forgets nothing and says everything at once, once it is told to speak.
pub struct TestRegistry {
    state: Mutex<State>,
    speaking: watch::Sender<bool>,
}

impl TestRegistry {
    pub fn silent() -> Arc<Self> {
        Arc::new(TestRegistry { state: Mutex::default(), speaking: watch::Sender::new(false) })
    }

    pub fn speak(&self) {
        self.speaking.send_replace(true);
    }

    pub fn upsert(&self, instance: Instance) {
        let mut state = self.state.lock().unwrap();
        state.instances.insert(instance.instance_id.clone(), instance.clone());
        state.tell(&Event::Upserted(instance));
    }

    pub fn remove(&self, id: &str) {
        let mut state = self.state.lock().unwrap();
        if let Some(instance) = state.instances.remove(id) {
            state.tell(&Event::Removed(instance));
        }
    }

    /// Ends every stream and takes no calls until it is back.
    pub fn set_away(&self, away: bool) {
        let mut state = self.state.lock().unwrap();
        state.away = away;
        if away {
            state.watchers.clear();
        }
    }

    /// Forgets everything, as one does that kept it in memory only.
    pub fn forget(&self) {
        self.state.lock().unwrap().instances.clear();
    }

    pub fn registered(&self) -> Vec<Instance> {
        self.state.lock().unwrap().instances.values().cloned().collect()
    }

    pub fn deregistered(&self) -> Vec<String> {
        self.state.lock().unwrap().deregistered.clone()
    }

    fn here(&self) -> Result<std::sync::MutexGuard<'_, State>> {
        let state = self.state.lock().unwrap();
        if state.away { Err(Error::unavailable("the registry is away")) } else { Ok(state) }
    }
}

impl State {
    fn tell(&mut self, event: &Event) {
        self.watchers.retain(|watcher| watcher.send(event.clone()).is_ok());
    }
}

#[async_trait]
impl Registry for TestRegistry {
    async fn register(&self, _: &Ctx, request: RegisterRequest) -> Result<RegisterResponse> {
        let mut instance = request.instance.unwrap_or_default();
        drop(self.here()?);
        if instance.instance_id.is_empty() {
            instance.instance_id = new_id().to_string();
        }
        instance.trusted = true;
        self.upsert(instance.clone());
        Ok(RegisterResponse { instance: Some(instance), created: true })
    }

    async fn heartbeat(&self, _: &Ctx, request: HeartbeatRequest) -> Result<HeartbeatResponse> {
        let state = self.here()?;
        let unknown = request.instance_ids.into_iter().filter(|id| !state.instances.contains_key(id)).collect();
        Ok(HeartbeatResponse { renewed: 0, unknown })
    }

    async fn deregister(&self, _: &Ctx, request: DeregisterRequest) -> Result<DeregisterResponse> {
        self.here()?.deregistered.push(request.instance_id.clone());
        self.remove(&request.instance_id);
        Ok(DeregisterResponse {})
    }

    async fn discover(&self, _: &Ctx, _: DiscoverRequest) -> Result<DiscoverResponse> {
        Err(Error::internal("the gateway has no business here"))
    }

    async fn list_services(&self, _: &Ctx, _: ListServicesRequest) -> Result<ListServicesResponse> {
        Err(Error::internal("the gateway has no business here"))
    }

    async fn watch(&self, _: &Ctx, _: WatchRequest) -> Result<WatchStream> {
        let mut state = self.here()?;
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut snapshot = vec![Event::Reset(Reset {})];
        snapshot.extend(state.instances.values().cloned().map(Event::Upserted));
        snapshot.push(Event::Synced(Synced {}));
        state.watchers.push(sender);
        let live = stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) });
        let mut speaking = self.speaking.subscribe();
        let quiet = async move {
            let _ = speaking.wait_for(|speaking| *speaking).await;
            stream::iter(snapshot).chain(live)
        };
        let events = quiet.into_stream().flatten();
        Ok(events.map(|event| Ok(WatchResponse { event: Some(event), resume_token: "t".into() })).boxed())
    }
}
