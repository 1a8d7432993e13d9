use std::{sync::Arc, time::Duration};

use serde_json::json;
use sker_api::{Ctx, Store};
use sker_bus::{Bus, Message, topology::REALTIME_FANOUT};
use sker_cache::{NewEvent, RealtimeLog};
use sker_error::{Code, Result};
use sker_proto::store::ReportProgressRequest;
use sker_types::{channel, event_type, new_id, now};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::Instant,
};

use super::running::{Running, StopReason};
use crate::engines::Sink;

/// Progress is told at most this often: four times a second. A task that is done sooner tells none.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);
/// Text that streams is gathered for this long, so that a fast engine does not make an event of every word.
const CHUNK_INTERVAL: Duration = Duration::from_millis(50);
/// More gathered text than this goes out at once.
const CHUNK_BYTES: usize = 8 * 1024;
/// How long the store may take to note progress; nothing depends on it.
const PROGRESS_DEADLINE: Duration = Duration::from_secs(5);

/// What an engine says on the way.
enum Report {
    Progress(u8, String),
    Chunk(String),
    Done,
}

/// The engine's end: never waits. What it holds is bounded by the size of the output, which is held anyway.
struct ReportSink {
    reports: UnboundedSender<Report>,
}

impl Sink for ReportSink {
    fn progress(&self, percent: u8, message: &str) {
        // A reporter that is gone means that nobody wants to know any more.
        let _ = self.reports.send(Report::Progress(percent.min(100), message.to_owned()));
    }

    fn chunk(&self, text: &str) {
        let _ = self.reports.send(Report::Chunk(text.to_owned()));
    }
}

/// Where progress and chunks go.
pub(super) struct Destinations {
    pub(super) store: Arc<dyn Store>,
    pub(super) bus: Arc<dyn Bus>,
    pub(super) log: Arc<dyn RealtimeLog>,
}

/// Tells the world about one running task, throttled.
pub(super) struct Reporter<'a> {
    destinations: &'a Destinations,
    running: &'a Running,
    ctx: &'a Ctx,
    reports: UnboundedReceiver<Report>,
    sender: UnboundedSender<Report>,
    text: String,
    index: u64,
    progress: Option<(u8, String)>,
    told: u8,
}

/// Ends a [`Reporter`]'s run when its engine is done.
pub(super) struct Finish(UnboundedSender<Report>);

impl Finish {
    pub(super) fn done(self) {
        let _ = self.0.send(Report::Done);
    }
}

impl<'a> Reporter<'a> {
    pub(super) fn new(destinations: &'a Destinations, running: &'a Running, ctx: &'a Ctx) -> Self {
        let (sender, reports) = unbounded_channel();
        Reporter { destinations, running, ctx, reports, sender, text: String::new(), index: 0, progress: None, told: 0 }
    }

    /// The sink for the engine, and what ends the reporter.
    pub(super) fn ends(&self) -> (Arc<dyn Sink>, Finish) {
        (Arc::new(ReportSink { reports: self.sender.clone() }), Finish(self.sender.clone()))
    }

    /// Runs until the engine is done or the task is stopped. All text is out then, unless it was stopped.
    pub(super) async fn run(mut self) {
        let mut chunk_due = None;
        let mut progress_due = Instant::now() + PROGRESS_INTERVAL;
        loop {
            let chunk_at = chunk_due.unwrap_or(progress_due);
            tokio::select! {
                biased;
                () = self.running.token().cancelled() => return,
                report = self.reports.recv() => match report {
                    Some(Report::Chunk(text)) => {
                        self.text.push_str(&text);
                        chunk_due.get_or_insert_with(|| Instant::now() + CHUNK_INTERVAL);
                        if self.text.len() >= CHUNK_BYTES {
                            self.tell_text().await;
                            chunk_due = None;
                        }
                    }
                    Some(Report::Progress(percent, message)) => {
                        self.running.set_percent(percent);
                        self.progress = Some((percent, message));
                    }
                    Some(Report::Done) | None => return self.tell_text().await,
                },
                () = tokio::time::sleep_until(chunk_at), if chunk_due.is_some() => {
                    self.tell_text().await;
                    chunk_due = None;
                }
                () = tokio::time::sleep_until(progress_due), if self.progress.is_some() => {
                    self.tell_progress().await;
                    progress_due = Instant::now() + PROGRESS_INTERVAL;
                }
            }
        }
    }

    async fn tell_progress(&mut self) {
        let Some((percent, message)) = self.progress.take() else { return };
        if percent <= self.told {
            return;
        }
        self.told = percent;
        let request = ReportProgressRequest { lease: Some(self.running.lease()), progress: percent.into(), message };
        let ctx = self.ctx.clone().unbounded().within(PROGRESS_DEADLINE);
        match ctx.bound(self.destinations.store.report_progress(&ctx, request)).await {
            Ok(_) => {}
            Err(error) if error.code() == Code::Conflict => self.running.stop(StopReason::Taken),
            // The next one may arrive; the result counts.
            Err(error) => tracing::debug!(error = %error, "progress could not be told"),
        }
    }

    /// Sends the gathered text. A chunk that cannot be sent is lost to whoever watches, not to the result.
    async fn tell_text(&mut self) {
        if self.text.is_empty() {
            return;
        }
        let text = std::mem::take(&mut self.text);
        let index = self.index;
        self.index += 1;
        if let Err(error) = self.send_chunk(index, text).await {
            tracing::warn!(error = %error, "a piece of streamed text could not be sent");
        }
    }

    async fn send_chunk(&self, index: u64, text: String) -> Result<()> {
        let Running { id, epoch, project_id, .. } = self.running;
        let event = NewEvent {
            kind: event_type::TASK_CHUNK.to_owned(),
            id: new_id(),
            time: now(),
            data: json!({"task_id": id, "epoch": epoch, "index": index, "text": text}),
        };
        let mut messages = Vec::with_capacity(2);
        for name in [Some(channel::task(*id)), project_id.map(channel::project)].into_iter().flatten() {
            let logged = self.destinations.log.append(&name, event.clone()).await?;
            let message = Message::json(event_type::TASK_CHUNK, "broker", &name, &logged)?;
            messages.push(message.with_traceparent(self.ctx.traceparent.clone()));
        }
        self.destinations.bus.publish(REALTIME_FANOUT, messages).await?;
        Ok(())
    }
}
