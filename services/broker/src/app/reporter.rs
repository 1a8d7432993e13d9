use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::future::try_join_all;
use serde_json::json;
use sker_api::{Ctx, Store};
use sker_bus::{Bus, Message, topology::REALTIME_FANOUT};
use sker_cache::{NewEvent, RealtimeLog};
use sker_error::{Code, Error, Result};
use sker_proto::store::ReportProgressRequest;
use sker_types::{channel, event_type, new_id, now};
use tokio::{
    sync::{
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        watch,
    },
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    metrics::BrokerMetrics,
    running::{Running, StopReason},
};
use crate::engines::Sink;

/// Progress is told at most this often: four times a second. A task that is done sooner tells none.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);
/// Text that streams is gathered for this long, so that a fast engine does not make an event of every word.
const CHUNK_INTERVAL: Duration = Duration::from_millis(50);
/// More gathered text than this goes out at once.
const CHUNK_BYTES: usize = 8 * 1024;
/// How long the store may take to note progress; nothing depends on it.
const PROGRESS_DEADLINE: Duration = Duration::from_secs(5);
/// How long a piece of text may take to go out; the result holds all of it.
const CHUNK_DEADLINE: Duration = Duration::from_secs(1);
/// How long an engine's result may wait for its last pieces of text to go out, as long as they do go out.
const LAST_CHUNKS: Duration = Duration::from_secs(10);

/// The engine's end: never waits. Of progress the last word counts; the text that it holds is bounded by the size of the
/// output, which is held anyway.
struct ReportSink {
    progress: watch::Sender<(u8, String)>,
    text: UnboundedSender<String>,
}

impl Sink for ReportSink {
    fn progress(&self, percent: u8, message: &str) {
        self.progress.send_replace((percent.min(100), message.to_owned()));
    }

    fn chunk(&self, text: &str) {
        // A reporter that is gone means that nobody wants to know any more.
        let _ = self.text.send(text.to_owned());
    }
}

/// Where progress and chunks go.
pub(super) struct Destinations {
    pub(super) store: Arc<dyn Store>,
    pub(super) bus: Arc<dyn Bus>,
    pub(super) log: Arc<dyn RealtimeLog>,
    /// Whether the last piece of text of any task did not go out: one warning is enough for all of them.
    pub(super) text_lost: AtomicBool,
}

/// Tells the world about one running task, throttled. What cannot be told in time is dropped: whoever watches sees the result
/// all the same.
pub(super) struct Reporter<'a> {
    destinations: &'a Destinations,
    metrics: &'a BrokerMetrics,
    running: &'a Running,
    ctx: &'a Ctx,
    progress: watch::Receiver<(u8, String)>,
    text: UnboundedReceiver<String>,
    done: CancellationToken,
}

impl<'a> Reporter<'a> {
    /// A reporter, and the sink for the engine.
    pub(super) fn new(
        destinations: &'a Destinations,
        metrics: &'a BrokerMetrics,
        running: &'a Running,
        ctx: &'a Ctx,
    ) -> (Self, Arc<dyn Sink>) {
        let (progress, progresses) = watch::channel((0, String::new()));
        let (text, texts) = unbounded_channel();
        let done = CancellationToken::new();
        let reporter = Reporter { destinations, metrics, running, ctx, progress: progresses, text: texts, done };
        (reporter, Arc::new(ReportSink { progress, text }))
    }

    /// Cancel it when the engine is done.
    pub(super) fn done(&self) -> CancellationToken {
        self.done.clone()
    }

    /// Runs until the engine is done or the task is stopped. All text is out then, unless it was stopped or cannot go out.
    pub(super) async fn run(self) {
        let Reporter { destinations, metrics, running, ctx, progress, text, done } = self;
        let telling = Telling { destinations, metrics, running, ctx };
        let late = async {
            done.cancelled().await;
            tokio::time::sleep(LAST_CHUNKS).await;
            telling.dropped("text");
        };
        tokio::select! {
            biased;
            () = running.token().cancelled() => {}
            () = telling.text(text, &done) => {}
            () = late => {}
            () = telling.progress(progress) => {}
        }
    }
}

/// What both parts of a reporter need.
struct Telling<'a> {
    destinations: &'a Destinations,
    metrics: &'a BrokerMetrics,
    running: &'a Running,
    ctx: &'a Ctx,
}

impl Telling<'_> {
    fn dropped(&self, kind: &str) {
        self.metrics.dropped_reports.with_label_values(&[kind]).inc();
    }

    /// Tells the store how far the task is, without end.
    async fn progress(&self, mut reports: watch::Receiver<(u8, String)>) {
        let mut told = 0;
        loop {
            tokio::time::sleep(PROGRESS_INTERVAL).await;
            if reports.changed().await.is_err() {
                return std::future::pending().await;
            }
            let (percent, message) = reports.borrow_and_update().clone();
            self.running.set_percent(percent);
            if percent <= told {
                continue;
            }
            told = percent;
            let lease = Some(self.running.lease());
            let request = ReportProgressRequest { lease, progress: percent.into(), message };
            let ctx = self.ctx.clone().within(PROGRESS_DEADLINE);
            match ctx.bound(self.destinations.store.report_progress(&ctx, request)).await {
                Ok(_) => {}
                Err(error) if error.code() == Code::Conflict => self.running.stop(StopReason::Taken),
                // The next one may arrive; the result counts.
                Err(error) => {
                    tracing::debug!(error = %error, "progress could not be told");
                    self.dropped("progress");
                }
            }
        }
    }

    /// Sends the text as it comes; ends when the engine is done and all of it is out, or does not go out.
    async fn text(&self, mut pieces: UnboundedReceiver<String>, done: &CancellationToken) {
        let (mut text, mut index) = (String::new(), 0);
        let mut due = None;
        loop {
            let at = due.unwrap_or_else(Instant::now);
            let last = tokio::select! {
                biased;
                Some(piece) = pieces.recv() => {
                    text.push_str(&piece);
                    due.get_or_insert_with(|| Instant::now() + CHUNK_INTERVAL);
                    if text.len() < CHUNK_BYTES {
                        continue;
                    }
                    false
                }
                // What was sent before is above: it comes first.
                () = done.cancelled() => true,
                () = tokio::time::sleep_until(at), if due.is_some() => false,
            };
            due = None;
            if !text.is_empty() {
                let sent = self.chunk(index, std::mem::take(&mut text)).await;
                index += 1;
                let was_lost = self.destinations.text_lost.swap(sent.is_err(), Ordering::Relaxed);
                if let Err(error) = sent {
                    if !was_lost {
                        tracing::warn!(error = %error, "streamed text does not reach whoever watches");
                    }
                    self.dropped("text");
                    if done.is_cancelled() {
                        return;
                    }
                }
            }
            if last {
                return;
            }
        }
    }

    async fn chunk(&self, index: u64, text: String) -> Result<()> {
        let sending = tokio::time::timeout(CHUNK_DEADLINE, self.send_chunk(index, text));
        sending.await.unwrap_or_else(|_| Err(Error::timeout("the realtime log or the bus did not answer in time")))
    }

    async fn send_chunk(&self, index: u64, text: String) -> Result<()> {
        let Running { id, epoch, project_id, .. } = self.running;
        let event = NewEvent {
            kind: event_type::TASK_CHUNK.to_owned(),
            id: new_id(),
            time: now(),
            data: json!({"task_id": id, "epoch": epoch, "index": index, "text": text}),
        };
        let names: Vec<String> =
            [Some(channel::task(*id)), project_id.map(channel::project)].into_iter().flatten().collect();
        let logged = try_join_all(names.iter().map(|name| self.destinations.log.append(name, event.clone()))).await?;
        let mut messages = Vec::with_capacity(names.len());
        for (name, logged) in names.iter().zip(&logged) {
            let message = Message::json(event_type::TASK_CHUNK, "broker", name, logged)?;
            messages.push(message.with_traceparent(self.ctx.traceparent.clone()));
        }
        self.destinations.bus.publish(REALTIME_FANOUT, messages).await?;
        Ok(())
    }
}
