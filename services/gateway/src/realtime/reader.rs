//! How sockets and event streams read the log.

use std::{future::Future, sync::Arc};

use sker_cache::{RealtimeLog, Replay};
use sker_error::{Code, Error, Result};
use sker_runtime::MainRuntime;
use tokio::sync::Semaphore;

/// Reads under way at a time. When the log or the bus is back, everybody has something to read at once: more of them would
/// only make each other too late, and those that are too late would all read again.
const TURNS: usize = 64;

/// Events read at a time.
pub(super) const PAGE: usize = 500;

/// The realtime log, for all readers of this gateway. Clones share.
#[derive(Clone)]
pub struct LogReader {
    log: Arc<dyn RealtimeLog>,
    main: MainRuntime,
    turns: Arc<Semaphore>,
}

impl LogReader {
    /// Reads this log, on this runtime.
    pub fn new(log: Arc<dyn RealtimeLog>, main: MainRuntime) -> Self {
        LogReader { log, main, turns: Arc::new(Semaphore::new(TURNS)) }
    }

    /// The channel's last number.
    pub(super) async fn latest(&self, channel: &str) -> Result<u64> {
        let (log, channel) = (Arc::clone(&self.log), channel.to_owned());
        self.ask(async move { log.latest(&channel).await }).await
    }

    /// The events after a number, [`PAGE`] at most.
    pub(super) async fn read(&self, channel: &str, after: u64) -> Result<Replay> {
        let (log, channel) = (Arc::clone(&self.log), channel.to_owned());
        self.ask(async move { log.read(&channel, after, PAGE).await }).await
    }

    async fn ask<T: Send + 'static>(&self, call: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        let _turn = self.turns.acquire().await.map_err(Error::internal)?;
        self.main.run(call).await.map_err(away)
    }
}

/// Without the log nothing can be promised: the client is to come again, with its place. What cannot be read although the log
/// is there is a fault of our own.
fn away(cause: Error) -> Error {
    if cause.code() == Code::Internal {
        return cause;
    }
    let error = Error::unavailable("the realtime log is away; come again with the last seq you have seen");
    error.with_retry_after_ms(1_000).with_cause(cause)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;
    use futures::future::join_all;
    use sker_cache::NewEvent;
    use sker_types::ChannelEvent;

    use super::*;

    /// Counts who asks at the same time.
    #[derive(Default)]
    struct Crowded {
        now: AtomicUsize,
        most: AtomicUsize,
    }

    #[async_trait]
    impl RealtimeLog for Crowded {
        async fn append(&self, _: &str, _: NewEvent) -> Result<ChannelEvent> {
            Err(Error::internal("nobody writes here"))
        }

        async fn read(&self, _: &str, _: u64, _: usize) -> Result<Replay> {
            self.most.fetch_max(self.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            self.now.fetch_sub(1, Ordering::SeqCst);
            Ok(Replay::Events(Vec::new()))
        }

        async fn latest(&self, _: &str) -> Result<u64> {
            Ok(0)
        }
    }

    #[tokio::test]
    async fn when_everybody_reads_at_once_all_get_their_turn_and_the_log_is_not_overrun() {
        let log = Arc::new(Crowded::default());
        let reader = LogReader::new(Arc::clone(&log) as Arc<dyn RealtimeLog>, MainRuntime::current());
        let reads = join_all((0..10 * TURNS).map(|_| reader.read("c", 0))).await;
        assert!(reads.iter().all(Result::is_ok));
        assert!((2..=TURNS).contains(&log.most.load(Ordering::SeqCst)));
    }
}
