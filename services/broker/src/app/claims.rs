//! From messages, or from nothing but free slots, to runs.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures::future::join_all;
use sker_api::Ctx;
use sker_bus::{Delivery, Outcome};
use sker_proto::store::{ClaimTasksRequest, Task};
use sker_traffic::Backoff;
use sker_types::{TaskWake, Uuid};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    intake::Intake,
    runner::{Claimed, store_backoff},
    running::Running,
    worker::{Broker, note_panic},
};

/// Tasks that are claimed with one call at most.
const MOST_CLAIMS: usize = 64;
/// How long a claim may take.
const CLAIM_DEADLINE: Duration = Duration::from_secs(10);
/// How long settling may take; a message that is not settled comes again.
const SETTLE_DEADLINE: Duration = Duration::from_secs(2);

impl Broker {
    /// Takes work until `stop`: what messages name, and now and then whatever the store has for anybody. The latter finds
    /// what a full broker holds messages of, and all of it while the bus is away.
    ///
    /// A message is acknowledged as soon as the store has answered the claim of its task: from then on the lease guards the
    /// task, and the store sends another message when it runs out.
    pub(super) async fn take_work(self: &Arc<Self>, runs: &mut JoinSet<()>, stop: &CancellationToken) {
        // Dropped at the end: what was prefetched goes back to the queues.
        let mut intake = self.intake();
        let mut steal_at = Instant::now() + self.steal_pause();
        loop {
            while let Some(run) = runs.try_join_next() {
                note_panic(run);
            }
            let Some(free) = stop.run_until_cancelled(self.free_slot()).await else { return };
            let most = free.min(MOST_CLAIMS);
            let next = async {
                tokio::select! {
                    biased;
                    batch = intake.next_batch(most) => Some(batch),
                    () = self.time_to_steal(steal_at) => None,
                }
            };
            let Some(batch) = stop.run_until_cancelled(next).await else { return };
            let stealing = batch.is_none();
            let messages = self.readable(batch.unwrap_or_default()).await;
            if messages.is_empty() && !stealing {
                continue;
            }
            let named = messages.iter().map(|(id, delivery)| (*id, delivery.message.traceparent().map(str::to_owned)));
            // Not cut short by the stop: a claim that is under way would be ours without our knowing.
            let Some(claimed) = self.claim(named.collect(), most, stop).await else {
                if stealing {
                    steal_at = Instant::now() + self.steal_pause();
                    continue;
                }
                // Away for longer than a lease: what is in hand goes back, for brokers that do reach the store.
                drop(messages);
                intake = self.intake();
                if stop.run_until_cancelled(self.until_store_answers()).await.is_none() {
                    return;
                }
                continue;
            };
            if stealing {
                self.metrics().stolen.inc_by(claimed.len() as u64);
                // Where something was there may be more.
                steal_at = Instant::now() + if claimed.is_empty() { self.steal_pause() } else { Duration::ZERO };
            }
            for claimed in claimed {
                let (broker, slot) = (Arc::clone(self), self.slot().await);
                runs.spawn(async move {
                    broker.run_claimed(claimed).await;
                    drop(slot);
                });
            }
            // Also what was not claimed: it is finished, held by another, or not due, and the store wakes somebody when there
            // is something to do.
            self.settle(messages.into_values(), Outcome::Ack).await;
        }
    }

    fn intake(&self) -> Intake {
        Intake::new(&self.destinations().bus, self.options().slots, self.metrics().deliveries.clone())
    }

    /// About the configured pause; brokers that began together do not all ask together.
    fn steal_pause(&self) -> Duration {
        let longest = self.options().steal.mul_f32(1.25);
        Backoff { jitter: 0.4, ..Backoff::new(longest, longest) }.delay(0)
    }

    /// Waits until `at`, and while the store is known to be away.
    async fn time_to_steal(&self, at: Instant) {
        tokio::time::sleep_until(at).await;
        self.until_store_answers().await;
    }

    /// The messages by task. What cannot be read becomes a dead letter, and a second message of a task is not needed.
    async fn readable(&self, batch: Vec<Delivery>) -> HashMap<Uuid, Delivery> {
        let mut messages = HashMap::with_capacity(batch.len());
        let (mut seconds, mut unreadable) = (Vec::new(), Vec::new());
        for delivery in batch {
            match delivery.message.parse::<TaskWake>() {
                Ok(wake) => seconds.extend(messages.insert(wake.task_id, delivery)),
                Err(error) => {
                    tracing::warn!(message.id = %delivery.message.id, error = %error, "a work message cannot be read");
                    self.metrics().malformed.with_label_values(&["work"]).inc();
                    unreadable.push(delivery);
                }
            }
        }
        self.settle(seconds, Outcome::Ack).await;
        self.settle(unreadable, Outcome::Reject).await;
        messages
    }

    /// Claims the tasks that are named with their traces, or without any whatever is due, up to `most` tasks. `None` when the
    /// broker stops or the store does not answer: named tasks are asked for during a whole lease, after which no answer to the
    /// first try could count.
    async fn claim(
        &self,
        mut named: HashMap<Uuid, Option<String>>,
        most: usize,
        stop: &CancellationToken,
    ) -> Option<Vec<Claimed>> {
        // What runs here now and ends while the store answers must not begin again with an answer from before its end.
        let before: HashMap<Uuid, u64> = self.running().all().iter().map(|run| (run.id, run.epoch)).collect();
        let mut ids: Vec<String> = named.keys().map(Uuid::to_string).collect();
        ids.sort_unstable();
        let request = ClaimTasksRequest {
            limit: if ids.is_empty() { u32::try_from(most).unwrap_or(u32::MAX) } else { 0 },
            ids,
            session_id: self.session_id(),
            lease_ms: u64::try_from(self.options().lease.as_millis()).unwrap_or(u64::MAX),
        };
        let tasks = self.claim_until_answered(&request, stop).await?;
        Some(tasks.into_iter().filter_map(|task| self.begin(task, &before, &mut named)).collect())
    }

    /// The same request each time: what an earlier try has claimed without our hearing of it is answered to a later one. Without
    /// ids it is not: every further try would claim other tasks, and all of them would wait for their leases. So there is none.
    async fn claim_until_answered(&self, request: &ClaimTasksRequest, stop: &CancellationToken) -> Option<Vec<Task>> {
        let patience = if request.ids.is_empty() { Duration::ZERO } else { self.options().lease };
        let give_up = Instant::now() + patience;
        let mut failures = 0;
        loop {
            let ctx = Ctx::service("broker").within(CLAIM_DEADLINE);
            let call = ctx.bound(self.store().claim_tasks(&ctx, request.clone()));
            let answer = tokio::select! {
                biased;
                answer = call => answer,
                // Too late to run anything; what was claimed is given back with the session.
                () = drained(stop, self.options().drain) => return None,
            };
            self.note_store(answer.is_ok());
            let failed_before = self.claims_fail.swap(answer.is_err(), Ordering::Relaxed);
            match answer {
                Ok(answer) => {
                    for unclaimed in answer.unclaimed {
                        tracing::debug!(
                            task.id = unclaimed.id,
                            reason = unclaimed.reason,
                            "nothing to do for a message"
                        );
                    }
                    return Some(answer.tasks);
                }
                Err(error) if !failed_before => {
                    tracing::warn!(error = %error, "tasks cannot be claimed, trying on");
                }
                Err(_) => {}
            }
            if Instant::now() >= give_up {
                return None;
            }
            stop.run_until_cancelled(tokio::time::sleep(store_backoff().delay(failures))).await?;
            failures = failures.saturating_add(1);
        }
    }

    /// Notes a claim, unless it is one that runs here already: the store repeats its answer when it is asked again.
    fn begin(
        &self,
        task: Task,
        before: &HashMap<Uuid, u64>,
        named: &mut HashMap<Uuid, Option<String>>,
    ) -> Option<Claimed> {
        let running = Arc::new(Running::new(&task)?);
        let known = before.get(&running.id).is_some_and(|epoch| *epoch >= running.epoch);
        if known || !self.running().insert(Arc::clone(&running)) {
            self.metrics().repeated_claims.inc();
            return None;
        }
        self.metrics().claims.inc();
        self.metrics().running.inc();
        let traceparent = named.remove(&running.id).flatten();
        Some(Claimed { task, running, traceparent })
    }

    /// Settles messages. One that cannot be settled, for example because its channel is gone, comes again; the store then
    /// says that there is nothing left to do.
    async fn settle(&self, messages: impl IntoIterator<Item = Delivery>, outcome: Outcome) {
        let settled =
            messages.into_iter().map(|delivery| tokio::time::timeout(SETTLE_DEADLINE, delivery.settle(outcome)));
        for settled in join_all(settled).await {
            if !matches!(settled, Ok(Ok(()))) {
                self.metrics().settle_failures.inc();
                tracing::debug!(settled = ?settled, "a message could not be settled");
            }
        }
    }
}

/// Passes when running tasks have had their time after a stop.
async fn drained(stop: &CancellationToken, drain: Duration) {
    stop.cancelled().await;
    tokio::time::sleep(drain).await;
}
