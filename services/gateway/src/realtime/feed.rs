//! One reader's place in one channel.

use std::sync::Arc;

use sker_cache::Replay;
use sker_error::Result;

use super::{Item, LiveEvent, LogReader, reader::PAGE};
use crate::app::cursor::{Cursor, Step};

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
#[derive(Clone, Debug)]
pub struct Feed {
    /// The channel's full name.
    pub channel: String,
    /// The name the client knows it by.
    pub shown: String,
    cursor: Cursor,
}

impl Feed {
    /// A reader that has seen everything up to `after`, or that begins now.
    pub async fn begin(channel: String, shown: String, after: Option<u64>, log: &LogReader) -> Result<Feed> {
        let last = match after {
            Some(after) => after,
            None => log.latest(&channel).await?,
        };
        Ok(Feed { channel, shown, cursor: Cursor::at(last) })
    }

    /// The last number that the reader has.
    pub fn last(&self) -> u64 {
        self.cursor.last()
    }

    /// The same under another name, gone back, or forward, to what the reader says it has seen.
    pub fn seen_from(mut self, shown: String, after: Option<u64>) -> Feed {
        self.shown = shown;
        if let Some(after) = after {
            self.cursor.reset(after);
        }
        self
    }

    /// Takes what came from the hub and says what goes out: nothing, the event, or all that was missed. An event that follows
    /// on the last one needs no log.
    ///
    /// # Errors
    /// The log is away. The reader has got nothing and stays where it is; the event waits in the log.
    pub async fn hear(&mut self, item: Item, log: &LogReader) -> Result<Vec<Outgoing>> {
        match item {
            Item::Event(event) => self.take(event, log).await,
            Item::Look(_) => self.catch_up(log).await,
        }
    }

    async fn take(&mut self, event: Arc<LiveEvent>, log: &LogReader) -> Result<Vec<Outgoing>> {
        match self.cursor.step(event.seq) {
            Step::Duplicate => Ok(Vec::new()),
            Step::Next => {
                self.cursor.advance(event.seq);
                Ok(vec![Outgoing::Event(event)])
            }
            Step::Gap => {
                let mut out = self.catch_up(log).await?;
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
    ///
    /// # Errors
    /// The log is away. The reader has got nothing and stays where it is.
    pub async fn catch_up(&mut self, log: &LogReader) -> Result<Vec<Outgoing>> {
        let before = self.cursor;
        let caught = self.read_on(log).await;
        if caught.is_err() {
            // Pages that did come are read again.
            self.cursor = before;
        }
        caught
    }

    async fn read_on(&mut self, log: &LogReader) -> Result<Vec<Outgoing>> {
        let mut out = Vec::new();
        loop {
            match log.read(&self.channel, self.cursor.last()).await? {
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

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sker_cache::{MemoryLog, MemoryLogOptions, NewEvent, RealtimeLog};
    use sker_runtime::MainRuntime;

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
        let reader = LogReader::new(Arc::clone(&log), MainRuntime::current());
        let mut feed = Feed::begin("c".into(), "c".into(), None, &reader).await.unwrap();
        let mut events = Vec::new();
        for _ in 0..1_200 {
            events.push(append(&*log, "c").await);
        }
        let first = feed.take(Arc::clone(&events[0]), &reader).await.unwrap();
        assert_eq!(seqs(first), [events[0].seq]);
        // The live stream jumps to the last one: everything between comes from the log.
        let rest = seqs(feed.take(Arc::clone(&events[1_199]), &reader).await.unwrap());
        assert_eq!(rest, events[1..].iter().map(|event| event.seq).collect::<Vec<_>>());
        assert!(feed.take(Arc::clone(&events[7]), &reader).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_reader_that_was_away_too_long_is_told_to_begin_anew() {
        let log: Arc<dyn RealtimeLog> =
            Arc::new(MemoryLog::new(1, MemoryLogOptions { per_channel: 2, ..MemoryLogOptions::default() }));
        let reader = LogReader::new(Arc::clone(&log), MainRuntime::current());
        let first = append(&*log, "c").await.seq;
        for _ in 0..5 {
            append(&*log, "c").await;
        }
        let mut feed = Feed::begin("c".into(), "c".into(), Some(first), &reader).await.unwrap();
        assert!(matches!(feed.catch_up(&reader).await.unwrap()[..], [Outgoing::Reset(latest)] if latest == first + 5));
        let next = append(&*log, "c").await;
        assert_eq!(seqs(feed.take(Arc::clone(&next), &reader).await.unwrap()), [next.seq]);
    }
}
