//! One reader's place in one channel.

use std::sync::Arc;

use sker_cache::{RealtimeLog, Replay};
use sker_error::{Error, Result};
use sker_runtime::MainRuntime;

use super::LiveEvent;
use crate::app::cursor::{Cursor, Step};

/// Events read from the log at a time.
const PAGE: usize = 500;

/// What goes out to the reader.
#[derive(Clone, Debug)]
pub enum Outgoing {
    /// An event.
    Event(Arc<LiveEvent>),
    /// Events were forgotten; those after this number follow.
    Reset(u64),
}

/// A subscription. It is joined to the hub first and then reads the log up to now, so that nothing falls between the two; what
/// comes in both ways is told apart by its number.
#[derive(Debug)]
pub struct Feed {
    /// The channel's full name.
    pub channel: String,
    /// The name the client knows it by.
    pub shown: String,
    cursor: Cursor,
}

impl Feed {
    /// A reader that has seen everything up to `after`, or that begins now.
    pub async fn begin(
        channel: String,
        shown: String,
        after: Option<u64>,
        log: &Arc<dyn RealtimeLog>,
        main: &MainRuntime,
    ) -> Result<Feed> {
        let last = match after {
            Some(after) => after,
            None => latest(&channel, log, main).await?,
        };
        Ok(Feed { channel, shown, cursor: Cursor::at(last) })
    }

    /// The last number that the reader has.
    pub fn last(&self) -> u64 {
        self.cursor.last()
    }

    /// Goes back, or forward, to what the reader says it has seen.
    pub fn rewind(&mut self, after: u64) {
        self.cursor.reset(after);
    }

    /// Takes a live event and says what goes out: nothing, the event, or all that was missed.
    pub async fn take(
        &mut self,
        event: Arc<LiveEvent>,
        log: &Arc<dyn RealtimeLog>,
        main: &MainRuntime,
    ) -> Result<Vec<Outgoing>> {
        match self.cursor.step(event.seq) {
            Step::Duplicate => Ok(Vec::new()),
            Step::Next => {
                self.cursor.advance(event.seq);
                Ok(vec![Outgoing::Event(event)])
            }
            Step::Gap => {
                let mut out = self.catch_up(log, main).await?;
                if self.cursor.step(event.seq) != Step::Duplicate {
                    // The log has forgotten it already, or never had it: the reader still gets it, in its place.
                    self.cursor.advance(event.seq);
                    out.push(Outgoing::Event(event));
                }
                Ok(out)
            }
        }
    }

    /// Everything in the log that the reader has not seen.
    pub async fn catch_up(&mut self, log: &Arc<dyn RealtimeLog>, main: &MainRuntime) -> Result<Vec<Outgoing>> {
        let mut out = Vec::new();
        loop {
            let (log, channel, after) = (Arc::clone(log), self.channel.clone(), self.cursor.last());
            let replay = main.run(async move { log.read(&channel, after, PAGE).await }).await.map_err(away)?;
            match replay {
                Replay::TooOld { latest } => {
                    self.cursor.reset(latest);
                    out.push(Outgoing::Reset(latest));
                    return Ok(out);
                }
                Replay::Events(events) => {
                    for event in &events {
                        if self.cursor.step(event.seq) != Step::Duplicate {
                            self.cursor.advance(event.seq);
                            out.push(Outgoing::Event(Arc::new(LiveEvent::from_log(event)?)));
                        }
                    }
                    if events.len() < PAGE {
                        return Ok(out);
                    }
                }
            }
        }
    }
}

/// The channel's last number.
pub(super) async fn latest(channel: &str, log: &Arc<dyn RealtimeLog>, main: &MainRuntime) -> Result<u64> {
    let (log, channel) = (Arc::clone(log), channel.to_owned());
    main.run(async move { log.latest(&channel).await }).await.map_err(away)
}

/// Without the log nothing can be promised: the client is to come again, with its place.
fn away(cause: Error) -> Error {
    Error::unavailable("the realtime log is away; come again with the last seq you have seen").with_cause(cause)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sker_cache::{MemoryLog, MemoryLogOptions, NewEvent};

    use super::*;

    async fn append(log: &dyn RealtimeLog, channel: &str) -> Arc<LiveEvent> {
        let event = NewEvent { kind: "t".into(), id: sker_types::new_id(), time: sker_types::now(), data: json!({}) };
        Arc::new(LiveEvent::from_log(&log.append(channel, event).await.unwrap()).unwrap())
    }

    fn seqs(out: Vec<Outgoing>) -> Vec<u64> {
        out.into_iter()
            .map(|one| match one {
                Outgoing::Event(event) => event.seq,
                Outgoing::Reset(_) => 0,
            })
            .collect()
    }

    #[tokio::test]
    async fn what_was_missed_is_read_from_the_log_once_and_in_order() {
        let log: Arc<dyn RealtimeLog> = Arc::new(MemoryLog::new(1, MemoryLogOptions::default()));
        let main = MainRuntime::current();
        let mut feed = Feed::begin("c".into(), "c".into(), None, &log, &main).await.unwrap();
        let mut events = Vec::new();
        for _ in 0..1_200 {
            events.push(append(&*log, "c").await);
        }
        let first = feed.take(Arc::clone(&events[0]), &log, &main).await.unwrap();
        assert_eq!(seqs(first), [events[0].seq]);
        // The live stream jumps to the last one: everything between comes from the log.
        let rest = seqs(feed.take(Arc::clone(&events[1_199]), &log, &main).await.unwrap());
        assert_eq!(rest, events[1..].iter().map(|event| event.seq).collect::<Vec<_>>());
        assert!(feed.take(Arc::clone(&events[7]), &log, &main).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_reader_that_was_away_too_long_is_told_to_begin_anew() {
        let log: Arc<dyn RealtimeLog> =
            Arc::new(MemoryLog::new(1, MemoryLogOptions { per_channel: 2, ..MemoryLogOptions::default() }));
        let main = MainRuntime::current();
        let first = append(&*log, "c").await.seq;
        for _ in 0..5 {
            append(&*log, "c").await;
        }
        let mut feed = Feed::begin("c".into(), "c".into(), Some(first), &log, &main).await.unwrap();
        assert!(
            matches!(feed.catch_up(&log, &main).await.unwrap()[..], [Outgoing::Reset(latest)] if latest == first + 5)
        );
        let next = append(&*log, "c").await;
        assert_eq!(seqs(feed.take(Arc::clone(&next), &log, &main).await.unwrap()), [next.seq]);
    }
}
