//! Follows the registry. What it said last stays in force while it is away.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::StreamExt;
use sker_api::{Ctx, Registry, WatchStream};
use sker_error::{Error, Result};
use sker_proto::registry::{Reset, WatchRequest, WatchResponse, watch_response::Event};
use sker_traffic::Backoff;
use tokio_util::sync::CancellationToken;

use crate::{app::catalogue::Catalogue, connected::Connected, gateway::Gateway};

/// How long the registry may take to begin a stream.
const BEGIN: Duration = Duration::from_secs(5);

/// A stream that is silent for so long is taken for dead: the registry says `synced` from time to time.
const SILENCE: Duration = Duration::from_secs(60);

/// How often what the registry has forgotten is looked at.
const TICK: Duration = Duration::from_secs(1);

/// Changes that are taken in before a new table is made of them.
const BATCH: usize = 256;

/// Follows the registry until `stop` is cancelled.
pub async fn follow(gateway: Arc<Gateway>, registry: Arc<dyn Registry>, connected: Connected, stop: CancellationToken) {
    let mut follower =
        Follower { catalogue: Catalogue::new(gateway.config.rules.clone()), gateway, token: String::new() };
    // Routes of the gateway's own file are in force from the start.
    follower.publish();
    let backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
    let mut failures = 0;
    loop {
        match stop.run_until_cancelled(follower.begin(&registry)).await {
            None => return,
            Some(Ok(stream)) => {
                connected.set(true);
                let ended = stop.run_until_cancelled(follower.run(stream, &mut failures)).await;
                connected.set(false);
                match ended {
                    None => return,
                    Some(error) => tracing::warn!(error = %error, "the registry's stream ended; the last routes stay"),
                }
            }
            Some(Err(error)) if failures == 0 => {
                tracing::warn!(error = %error, "the registry is away; the last routes stay");
            }
            Some(Err(_)) => {}
        }
        let wait = tokio::time::Instant::now() + backoff.delay(failures);
        failures = failures.saturating_add(1);
        while tokio::time::Instant::now() < wait {
            let pause = wait.min(tokio::time::Instant::now() + TICK);
            if stop.run_until_cancelled(tokio::time::sleep_until(pause)).await.is_none() {
                return;
            }
            follower.tick();
        }
    }
}

struct Follower {
    gateway: Arc<Gateway>,
    catalogue: Catalogue,
    token: String,
}

impl Follower {
    async fn begin(&mut self, registry: &Arc<dyn Registry>) -> Result<WatchStream> {
        let request = WatchRequest {
            group_names: self.catalogue.groups(),
            service_name: String::new(),
            resume_token: self.token.clone(),
        };
        let ctx = Ctx::service("gateway").unbounded();
        let stream = tokio::time::timeout(BEGIN, registry.watch(&ctx, request)).await;
        let stream = stream.unwrap_or_else(|_| Err(Error::timeout("the registry did not answer in time")))?;
        if self.token.is_empty() {
            // Without a token a whole snapshot comes, whether or not a reset is said first.
            self.apply(WatchResponse { event: Some(Event::Reset(Reset {})), resume_token: String::new() });
        }
        Ok(stream)
    }

    /// Takes in changes until the stream ends, and says why it did.
    async fn run(&mut self, mut stream: WatchStream, failures: &mut u32) -> Error {
        let mut heard = Instant::now();
        loop {
            let next = match tokio::time::timeout(TICK, stream.next()).await {
                Ok(next) => next,
                Err(_) if heard.elapsed() >= SILENCE => return Error::timeout("the registry is silent"),
                Err(_) => {
                    self.tick();
                    continue;
                }
            };
            let mut changed = false;
            let mut next = Some(next);
            let mut taken = 0;
            while let Some(response) = next.take() {
                match response {
                    Some(Ok(response)) => changed |= self.apply(response),
                    Some(Err(error)) => {
                        self.publish_if(changed);
                        return error;
                    }
                    None => {
                        self.publish_if(changed);
                        return Error::unavailable("the registry ended the stream");
                    }
                }
                taken += 1;
                if taken < BATCH {
                    next = futures::FutureExt::now_or_never(stream.next());
                }
            }
            heard = Instant::now();
            if self.catalogue.is_synced() {
                *failures = 0;
            }
            self.publish_if(changed);
            self.tick();
        }
    }

    fn apply(&mut self, response: WatchResponse) -> bool {
        if !response.resume_token.is_empty() {
            self.token.clone_from(&response.resume_token);
        }
        self.catalogue.apply(response, Instant::now())
    }

    fn tick(&mut self) {
        let expired = self.catalogue.expire(Instant::now());
        self.publish_if(expired);
    }

    fn publish_if(&self, changed: bool) {
        if changed {
            self.publish();
        }
    }

    fn publish(&self) {
        let table = self.catalogue.table();
        let (routes, conflicts) = (table.routes.len(), table.conflicts.len());
        if self.gateway.table().conflicts != table.conflicts {
            for conflict in &table.conflicts {
                let (group, service) = (&conflict.owner.group, &conflict.owner.service);
                tracing::warn!(group, service, path = conflict.path, "a route is not in force: {}", conflict.reason);
            }
        }
        tracing::debug!(routes, conflicts, "routes changed");
        self.gateway.set_table(table);
    }
}
