use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use sker_api::{Ctx, Registry};
use sker_error::{Code, Error, Result};
use sker_proto::registry::{DeregisterRequest, HeartbeatRequest, Instance, RegisterRequest};
use sker_traffic::backoff::Backoff;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// The heartbeat interval when the registry names none.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(5);
/// How long a call may take; less than the lease, so that there is time for another.
const CALL: Duration = Duration::from_secs(3);
/// How long saying goodbye may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// Where a registration stands.
#[derive(Clone, Debug, Default)]
pub struct RegistrarState {
    /// What is, or is to be, registered.
    pub instance: Instance,
    /// Whether the registry knows it, as far as we know.
    pub registered: bool,
    /// Registrations since the start; more than one means that the registry had forgotten us.
    pub registrations: u64,
    /// Whether the instance was changed since the registry took it.
    pub changed: bool,
    /// The last failure since the last success, for people.
    pub last_error: Option<String>,
}

/// Keeps one instance registered for as long as [`Registrar::run`] runs, and deregisters it at the end.
#[derive(Clone)]
pub struct Registrar {
    registry: Arc<dyn Registry>,
    service: Arc<str>,
    state: Arc<ArcSwap<RegistrarState>>,
    /// One permit, so that registering and deregistering never overtake one another on their way.
    turn: Arc<Semaphore>,
    leaving: Arc<AtomicBool>,
}

impl Registrar {
    /// A registrar that calls `registry` as the service named `service`. Nothing happens before [`Registrar::run`].
    pub fn new(registry: Arc<dyn Registry>, service: &str, instance: Instance) -> Self {
        let state = RegistrarState { instance, ..RegistrarState::default() };
        Registrar {
            registry,
            service: service.into(),
            state: Arc::new(ArcSwap::from_pointee(state)),
            turn: Arc::new(Semaphore::new(1)),
            leaving: Arc::default(),
        }
    }

    /// Where the registration stands.
    pub fn state(&self) -> Arc<RegistrarState> {
        self.state.load_full()
    }

    /// Registers at once, for callers that must know that it worked.
    ///
    /// # Errors
    /// Those of the registry; `unavailable` when the instance is leaving or has left.
    pub async fn register(&self) -> Result<()> {
        let _turn = self.turn.acquire().await.map_err(Error::internal)?;
        if self.leaving.load(Ordering::SeqCst) {
            return Err(Error::unavailable("the service is stopping and registers no more"));
        }
        let sent = self.state().instance.clone();
        let request = RegisterRequest { instance: Some(sent.clone()) };
        let ctx = Ctx::service(&self.service).within(CALL);
        match ctx.bound(self.registry.register(&ctx, request)).await {
            Ok(response) => {
                let registered = response.instance.unwrap_or_default();
                self.update(|state| {
                    state.instance.instance_id.clone_from(&registered.instance_id);
                    state.instance.heartbeat_interval_seconds = registered.heartbeat_interval_seconds;
                    state.registered = true;
                    state.registrations += 1;
                    state.changed = state.instance.metadata_json != sent.metadata_json;
                    state.last_error = None;
                });
                Ok(())
            }
            Err(error) => {
                self.note_failure(&error);
                Err(error)
            }
        }
    }

    /// Replaces the instance's metadata, a JSON object; the registry hears of it at once, or as soon as it is back.
    ///
    /// # Errors
    /// As [`Registrar::register`].
    pub async fn set_metadata(&self, metadata_json: String) -> Result<()> {
        self.update(|state| {
            state.instance.metadata_json.clone_from(&metadata_json);
            state.changed = true;
        });
        self.register().await
    }

    /// Registers, with back-off while that fails, and sends heartbeats until `stop`; then deregisters.
    pub async fn run(&self, stop: CancellationToken) {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        let mut failures = 0;
        loop {
            let Some(outcome) = self.speak(&stop).await else { break };
            let pause = match outcome {
                Ok(()) if !self.state().registered => Duration::ZERO,
                Ok(()) => {
                    if std::mem::take(&mut failures) > 0 {
                        tracing::info!(service = %self.service, "the registry is back");
                    }
                    self.jittered_interval()
                }
                Err(error) => {
                    // Once, and not again before it has worked.
                    if failures == 0 {
                        tracing::warn!(service = %self.service, error = %error, "cannot reach the registry, trying on");
                    }
                    failures += 1;
                    backoff.delay(failures - 1)
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.leaving.store(true, Ordering::SeqCst);
        self.deregister().await;
    }

    /// Registers or sends a heartbeat, whichever is due. `None` when it is to stop.
    async fn speak(&self, stop: &CancellationToken) -> Option<Result<()>> {
        let state = self.state();
        if state.registered && !state.changed {
            return stop.run_until_cancelled(self.heartbeat()).await;
        }
        // Not cut short: a registration that was given up could still arrive after the farewell.
        let outcome = self.register().await;
        if let (Err(error), true) = (&outcome, state.registered) {
            // A change that the registry does not take must not cost us the registration that we have.
            let _ = stop.run_until_cancelled(self.heartbeat()).await?;
            self.note_failure(error);
        }
        Some(outcome)
    }

    /// Says goodbye. A registry that is away is left to notice by itself.
    async fn deregister(&self) {
        // A registration on its way arrives before.
        let _turn = self.turn.acquire().await;
        let state = self.state();
        if !state.registered {
            return;
        }
        let ctx = Ctx::service(&self.service).within(FAREWELL);
        let request = DeregisterRequest { instance_id: state.instance.instance_id.clone() };
        match ctx.bound(self.registry.deregister(&ctx, request)).await {
            Ok(_) => self.update(|state| state.registered = false),
            Err(error) => tracing::warn!(service = %self.service, error = %error, "could not deregister"),
        }
    }

    async fn heartbeat(&self) -> Result<()> {
        let id = self.state().instance.instance_id.clone();
        let ctx = Ctx::service(&self.service).within(CALL);
        let request = HeartbeatRequest { instance_ids: vec![id] };
        match ctx.bound(self.registry.heartbeat(&ctx, request)).await {
            Ok(answer) if answer.unknown.is_empty() => {
                self.update(|state| state.last_error = None);
                Ok(())
            }
            Ok(_) => self.forgotten(),
            Err(error) if error.code() == Code::NotFound => self.forgotten(),
            Err(error) => {
                self.note_failure(&error);
                Err(error)
            }
        }
    }

    fn forgotten(&self) -> Result<()> {
        tracing::info!(service = %self.service, "the registry has forgotten this instance; registering again");
        self.update(|state| state.registered = false);
        Ok(())
    }

    fn note_failure(&self, error: &Error) {
        self.update(|state| state.last_error = Some(error.to_string()));
    }

    fn interval(&self) -> Duration {
        match self.state().instance.heartbeat_interval_seconds {
            0 => DEFAULT_INTERVAL,
            seconds => Duration::from_secs(seconds.into()),
        }
    }

    /// The interval less up to a tenth, so that instances that started together do not beat together.
    fn jittered_interval(&self) -> Duration {
        self.interval().mul_f64(1.0 - rand::random::<f64>() / 10.0)
    }

    fn update(&self, change: impl Fn(&mut RegistrarState)) {
        self.state.rcu(|state| {
            let mut next = RegistrarState::clone(state);
            change(&mut next);
            next
        });
    }
}
