//! Publishing: one lane per exchange, each a task with a channel of its own.
//!
//! What fails on a channel fails for everything on it, so exchanges do not share one. Within a lane many callers do: what they
//! ask for while one round of messages waits for its confirms makes up the next round. A round is answered as a whole,
//! because lapin attaches returned messages to confirms of others.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use lapin::{Channel, options::ConfirmSelectOptions};
use sker_error::{Error, Result};
use sker_types::Uuid;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    config::Settings,
    declare::{self, GRACE},
    envelope::Outgoing,
    link::Link,
    round::{self, Refused},
    session::{Failure, NOT_FOUND, Session},
};
use crate::topology::{BINDINGS, Exchange, ExchangeKind, topic_matches};

/// Callers that may wait for a lane before the next ones wait for them.
const QUEUED: usize = 1_024;
/// The topology is declared again at most that often for messages that reach no queue.
const DECLARE_AGAIN: Duration = Duration::from_secs(1);

/// What one caller publishes.
pub(super) struct Job {
    messages: Vec<Outgoing>,
    /// Past that nothing of it is begun.
    expires: Instant,
    answer: oneshot::Sender<Result<Vec<Uuid>>>,
}

/// How callers reach a lane.
pub(super) struct Lane {
    pub(super) exchange: &'static Exchange,
    jobs: mpsc::Sender<Job>,
    timeout: Duration,
}

impl Lane {
    /// A lane and what serves it, until `closing` and then until everything asked before is answered.
    pub(super) fn new(
        exchange: &'static Exchange,
        settings: &Arc<Settings>,
        link: Link,
        closing: CancellationToken,
    ) -> (Lane, impl Future<Output = ()> + Send + 'static) {
        let (jobs, received) = mpsc::channel(QUEUED);
        let server =
            Server { exchange, settings: Arc::clone(settings), link, jobs: received, channel: None, declared: None };
        (Lane { exchange, jobs, timeout: settings.timeout }, server.run(closing))
    }

    /// Publishes messages and answers the ids that were not taken.
    pub(super) async fn publish(&self, messages: Vec<Outgoing>) -> Result<Vec<Uuid>> {
        let (answer, answered) = oneshot::channel();
        let job = Job { messages, expires: Instant::now() + self.timeout, answer };
        let sent = tokio::time::timeout(self.timeout, self.jobs.send(job)).await;
        sent.map_err(|_| too_slow())?.map_err(|_| super::closed())?;
        answered.await.map_err(|_| super::closed())?
    }
}

fn too_slow() -> Error {
    Error::unavailable("RabbitMQ is too slow for what is published")
}

struct Server {
    exchange: &'static Exchange,
    settings: Arc<Settings>,
    link: Link,
    jobs: mpsc::Receiver<Job>,
    channel: Option<(Session, Channel)>,
    /// When the topology was last declared for what reached no queue.
    declared: Option<Instant>,
}

impl Server {
    async fn run(mut self, closing: CancellationToken) {
        loop {
            let job = tokio::select! {
                job = self.jobs.recv() => job,
                () = closing.cancelled(), if !self.jobs.is_closed() => {
                    self.jobs.close();
                    continue;
                }
            };
            let Some(job) = job else { break };
            let batch = self.collect(job);
            self.serve(batch).await;
        }
        if let Some((session, channel)) = self.channel.take() {
            session.retire(channel).await;
        }
    }

    /// The job and others that wait, up to a window full.
    fn collect(&mut self, first: Job) -> Vec<Job> {
        let mut messages = first.messages.len();
        let mut jobs = vec![first];
        while messages < self.settings.window {
            let Ok(job) = self.jobs.try_recv() else { break };
            messages += job.messages.len();
            jobs.push(job);
        }
        jobs
    }

    /// Publishes a batch, window by window, and answers each caller as soon as all of its messages are settled.
    async fn serve(&mut self, batch: Vec<Job>) {
        let now = Instant::now();
        let mut outgoing = Vec::new();
        let mut waiting = VecDeque::new();
        for Job { messages, expires, answer } in batch {
            if expires < now {
                let _ = answer.send(Err(too_slow()));
            } else if !answer.is_closed() {
                let from = outgoing.len();
                outgoing.extend(messages);
                waiting.push_back((from..outgoing.len(), answer));
            }
        }
        let mut refused = Vec::new();
        let mut failure = None;
        let mut done = 0;
        for window in outgoing.chunks(self.settings.window) {
            match self.send(window).await {
                Ok(indices) => refused.extend(indices.into_iter().map(|index| done + index)),
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
            done += window.len();
            while let Some((range, answer)) = waiting.pop_front_if(|(range, _)| range.end <= done) {
                let ids = refused.iter().filter(|index| range.contains(index)).map(|&index| outgoing[index].id);
                let _ = answer.send(Ok(ids.collect()));
            }
        }
        // Callers without messages are left when there was no window at all.
        for (_, answer) in waiting {
            let _ = answer.send(failure.as_deref().map_or(Ok(Vec::new()), |why| Err(Error::unavailable(why))));
        }
    }

    /// Publishes one window and answers which of it RabbitMQ did not take; or why that is not known.
    async fn send(&mut self, window: &[Outgoing]) -> Result<Vec<usize>, String> {
        let round = match self.round(window).await {
            Err(failure) if failure.code() == Some(NOT_FOUND) => {
                self.declare_again().await?;
                self.round(window).await
            }
            round => round,
        };
        let mut refused = round.map_err(|failure| failure.text())?;
        // A key that should reach a queue and does not: the queue or the binding was deleted.
        let lost: Vec<usize> = refused.unrouted.iter().copied().filter(|&index| self.routes(&window[index])).collect();
        if !lost.is_empty() && self.declared.is_none_or(|at| at.elapsed() > DECLARE_AGAIN) {
            tokio::time::sleep(GRACE).await;
            self.declare_again().await?;
            let again: Vec<&Outgoing> = lost.iter().map(|&index| &window[index]).collect();
            let second = self.round(&again).await.map_err(|failure| failure.text())?;
            refused.unrouted.retain(|index| !lost.contains(index));
            refused.unrouted.extend(second.unrouted.into_iter().map(|index| lost[index]));
            refused.full.extend(second.full.into_iter().map(|index| lost[index]));
        }
        let mut all = refused.full;
        all.extend(refused.unrouted);
        all.sort_unstable();
        all.dedup();
        Ok(all)
    }

    async fn round<M: std::borrow::Borrow<Outgoing>>(&mut self, window: &[M]) -> Result<Refused, Failure> {
        let (session, channel) = self.channel().await?;
        let result = tokio::select! {
            result = session.ask(round::publish(&channel, self.exchange, window)) => result,
            () = self.link.blocked() => Err(Failure::Blocked),
        };
        if result.is_err() {
            // What is late on this channel must not be taken for an answer to what comes next.
            self.channel = None;
            session.retire(channel).await;
        }
        result
    }

    /// The channel, or a new one.
    async fn channel(&mut self) -> Result<(Session, Channel), Failure> {
        let session = self.link.open_session().map_err(Failure::Away)?;
        if let Some((of, channel)) = &self.channel
            && of.is(&session)
            && channel.status().connected()
        {
            return Ok((session, channel.clone()));
        }
        let channel = session.channel().await?;
        session.ask(channel.confirm_select(ConfirmSelectOptions::default())).await?;
        self.channel = Some((session.clone(), channel.clone()));
        Ok((session, channel))
    }

    async fn declare_again(&mut self) -> Result<(), String> {
        self.declared = Some(Instant::now());
        let session = self.link.open_session().map_err(|error| error.message().to_owned())?;
        declare::topology(&session).await.map(drop).map_err(|failure| failure.text())
    }

    /// Whether the topology binds a queue to the key.
    fn routes(&self, message: &Outgoing) -> bool {
        BINDINGS.iter().any(|binding| {
            binding.exchange == self.exchange.name
                && match self.exchange.kind {
                    ExchangeKind::Direct => binding.key == message.key.as_str(),
                    ExchangeKind::Topic => topic_matches(binding.key, message.key.as_str()),
                    ExchangeKind::Fanout => true,
                }
        })
    }
}
