use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, timeout, timeout_at};

use super::{Depth, Driver, Failure, Observation, Progress, Session, Step, Target};

/// How long taking leave of a server may take.
const LEAVE: Duration = Duration::from_millis(500);

/// Whether a look may use the session that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reuse {
    /// As long as it works.
    Yes,
    /// It shall show that one can still connect and sign in.
    No,
}

/// The one session with a target, kept between looks. Whoever looks has the target's permit, so there is never a second.
pub(super) struct Link {
    driver: Arc<dyn Driver>,
    // Only ever held to put a session in or take it out.
    held: Mutex<Option<Held>>,
    opened: AtomicU64,
    refused: AtomicU64,
}

struct Held {
    session: Box<dyn Session>,
    connect: Duration,
}

impl Link {
    pub fn new(driver: Arc<dyn Driver>) -> Self {
        Link { driver, held: Mutex::new(None), opened: AtomicU64::new(0), refused: AtomicU64::new(0) }
    }

    /// Whether a session is kept.
    pub fn is_open(&self) -> bool {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Sessions opened, and attempts that failed.
    pub fn counts(&self) -> (u64, u64) {
        (self.opened.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed))
    }

    /// Looks at the target, at most until the deadline. What is under way then is dropped, with its connection.
    pub async fn look(
        &self,
        target: &Target,
        depth: Depth,
        reuse: Reuse,
        deadline: Duration,
    ) -> (Result<Observation, Failure>, Duration) {
        let began = Instant::now();
        let progress = Progress::default();
        let result = timeout_at(began + deadline, self.look_until(target, depth, reuse, began + deadline, &progress))
            .await
            .unwrap_or_else(|_| Err(progress.failure(format!("no answer within {} ms", deadline.as_millis()))));
        (result, began.elapsed())
    }

    async fn look_until(
        &self,
        target: &Target,
        depth: Depth,
        reuse: Reuse,
        deadline: Instant,
        progress: &Progress,
    ) -> Result<Observation, Failure> {
        match (self.take(), reuse) {
            (Some(held), Reuse::Yes) => {
                // The server, or something in between, may have ended it while nobody looked, which says nothing about how
                // the server is now. Half of the time is left to find that out on a new one.
                let now = Instant::now();
                let half = now + deadline.saturating_duration_since(now) / 2;
                if let Ok(Ok(observation)) = timeout_at(half, self.look_on(held, depth, progress)).await {
                    return Ok(observation);
                }
            }
            (Some(held), Reuse::No) => leave(held.session).await,
            (None, _) => {}
        }
        let held = self.connect(target, deadline, progress).await?;
        self.look_on(held, depth, progress).await
    }

    async fn connect(&self, target: &Target, deadline: Instant, progress: &Progress) -> Result<Held, Failure> {
        let began = Instant::now();
        progress.enter(Step::Resolve);
        let mut attempt = Attempt { counted: &self.refused };
        let session = self.driver.connect(target, deadline, progress).await?;
        attempt.counted = &self.opened;
        Ok(Held { session, connect: began.elapsed() })
    }

    async fn look_on(&self, mut held: Held, depth: Depth, progress: &Progress) -> Result<Observation, Failure> {
        progress.enter(Step::Query);
        let mut observation = held.session.look(depth, progress).await?;
        observation.connect = held.connect;
        progress.enter(Step::Done);
        if held.session.is_lasting() {
            *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(held);
        } else {
            leave(held.session).await;
        }
        Ok(observation)
    }

    fn take(&self) -> Option<Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Ends the session, if there is one.
    pub async fn close(&self) {
        if let Some(held) = self.take() {
            leave(held.session).await;
        }
    }
}

/// Counts itself at its end: one that is cut off is dropped, and counts as refused.
struct Attempt<'a> {
    counted: &'a AtomicU64,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.counted.fetch_add(1, Ordering::Relaxed);
    }
}

/// A server that does not listen any more is left without a word.
async fn leave(session: Box<dyn Session>) {
    let _ = timeout(LEAVE, session.close()).await;
}
