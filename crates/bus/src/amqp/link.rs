//! A connection that is kept: opened, watched, and opened again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{Stream, StreamExt};
use lapin::Event;
use sker_error::{Error, Result};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    config::Settings,
    declare,
    session::{BLOCKED, Session},
};

/// The first pause before connecting again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// How often a connection is looked at that tells nothing by itself.
const LOOK: Duration = Duration::from_secs(1);
/// How often the topology is declared again: a queue that someone deletes is missed by nobody who publishes to an exchange
/// with an alternate.
const DECLARE_AGAIN: Duration = Duration::from_secs(30);

/// What is known of a connection.
#[derive(Clone)]
pub(super) enum State {
    /// It is not there, and why.
    Away(Arc<str>),
    /// It is there, and what is wrong with it.
    Here { session: Session, blocked: Option<Arc<str>>, conflict: Option<Arc<str>> },
}

/// A view of a connection that is kept elsewhere.
#[derive(Clone)]
pub(super) struct Link {
    state: watch::Receiver<State>,
}

impl Link {
    /// The connection and what keeps it, which runs until `closing`.
    pub(super) fn new(
        settings: Arc<Settings>,
        purpose: &'static str,
        closing: CancellationToken,
    ) -> (Link, impl Future<Output = ()> + Send + 'static) {
        let (known, state) = watch::channel(State::Away("RabbitMQ has not been reached yet".into()));
        let keeper = Keeper { settings, purpose, known, logged: None };
        (Link { state }, keeper.run(closing))
    }

    /// Waits until the first attempt to connect has come to an end.
    pub(super) async fn attempted(&self) {
        // Every clone has seen what was there at the beginning, and nothing since. An error means that nobody keeps it any more.
        let _ = self.state.clone().changed().await;
    }

    /// The connection as it is now.
    ///
    /// # Errors
    /// `unavailable` when there is none.
    pub(super) fn session(&self) -> Result<Session> {
        match &*self.state.borrow() {
            State::Away(why) => Err(Error::unavailable(&**why)),
            State::Here { session, .. } => Ok(session.clone()),
        }
    }

    /// The connection if messages can be published on it now.
    ///
    /// # Errors
    /// `unavailable` when there is none or RabbitMQ has blocked it.
    pub(super) fn open_session(&self) -> Result<Session> {
        match &*self.state.borrow() {
            State::Here { blocked: Some(why), .. } => Err(Error::unavailable(&**why)),
            State::Here { session, .. } => Ok(session.clone()),
            State::Away(why) => Err(Error::unavailable(&**why)),
        }
    }

    /// Waits until RabbitMQ blocks the connection.
    pub(super) async fn blocked(&self) {
        let blocked = |state: &State| matches!(state, State::Here { blocked: Some(_), .. });
        if self.state.clone().wait_for(blocked).await.is_err() {
            // Nobody keeps it any more, so nobody will know.
            std::future::pending::<()>().await;
        }
    }

    /// What is wrong with it now.
    pub(super) fn trouble(&self) -> Option<Arc<str>> {
        match &*self.state.borrow() {
            State::Away(why) => Some(Arc::clone(why)),
            State::Here { blocked, conflict, .. } => blocked.clone().or_else(|| conflict.clone()),
        }
    }
}

struct Keeper {
    settings: Arc<Settings>,
    purpose: &'static str,
    known: watch::Sender<State>,
    /// What was logged last and still holds, so that it is logged once.
    logged: Option<String>,
}

impl Keeper {
    async fn run(mut self, closing: CancellationToken) {
        let mut pause = FIRST_PAUSE;
        while let Some(opened) = closing.run_until_cancelled(self.open()).await {
            let why = match opened {
                Ok(session) => {
                    let since = Instant::now();
                    let why = self.watch(&session, &closing).await;
                    session.end();
                    // One that does not last is no reason to hurry.
                    if since.elapsed() > self.settings.reconnect_max {
                        pause = FIRST_PAUSE;
                    }
                    why
                }
                Err(error) => error.message().to_owned(),
            };
            self.known.send_replace(State::Away(why.as_str().into()));
            if closing.is_cancelled() {
                break;
            }
            self.warn(&why);
            let jittered = pause.mul_f64(rand::random_range(0.5..1.0));
            if closing.run_until_cancelled(tokio::time::sleep(jittered)).await.is_none() {
                break;
            }
            pause = (pause * 2).min(self.settings.reconnect_max);
        }
        self.known.send_replace(State::Away("the message bus is closed".into()));
    }

    /// Connects and declares the topology.
    async fn open(&self) -> Result<Session> {
        let session = Session::open(&self.settings, self.purpose).await?;
        match declare::topology(&session).await {
            Ok(conflict) => {
                let conflict = conflict.map(Arc::from);
                self.known.send_replace(State::Here { session: session.clone(), blocked: None, conflict });
                Ok(session)
            }
            Err(failure) => {
                session.close().await;
                Err(failure.unavailable("the exchanges and queues of RabbitMQ cannot be declared"))
            }
        }
    }

    /// Watches a connection until it is lost, and answers why; or until `closing`, and closes it.
    async fn watch(&mut self, session: &Session, closing: &CancellationToken) -> String {
        tracing::info!(bus.connection = self.purpose, "connected to RabbitMQ");
        self.logged = None;
        self.tell();
        let mut events = std::pin::pin!(session.connection().events_listener());
        let mut look = tokio::time::interval(LOOK);
        let mut declare_again = tokio::time::interval_at(tokio::time::Instant::now() + DECLARE_AGAIN, DECLARE_AGAIN);
        let mut why = None;
        loop {
            tokio::select! {
                () = closing.cancelled() => {
                    session.close().await;
                    return "the message bus is closed".to_owned();
                }
                event = events.next() => match event {
                    Some(Event::Error(error)) => why = Some(error),
                    Some(_) => {}
                    None => return "the connection to RabbitMQ was lost".to_owned(),
                },
                _ = look.tick() => {}
                // While it is blocked nothing is sent on it.
                _ = declare_again.tick(), if !session.connection().status().blocked() => {
                    closing.run_until_cancelled(self.declare_again(session)).await;
                }
            }
            let status = session.connection().status();
            if !status.connected() {
                drain(&mut events, &mut why);
                let why = why.map(|error| format!(": {error}")).unwrap_or_default();
                return format!("the connection to RabbitMQ was lost{why}");
            }
            // An error of a channel is told to whoever uses it.
            why = None;
            self.note_blocked(status.blocked());
        }
    }

    fn note_blocked(&mut self, now: bool) {
        let changed = self.known.send_if_modified(|state| match state {
            State::Here { blocked, .. } if blocked.is_some() != now => {
                *blocked = now.then(|| BLOCKED.into());
                true
            }
            _ => false,
        });
        if changed {
            self.tell();
        }
    }

    async fn declare_again(&mut self, session: &Session) {
        // A failure is the end of the connection, which is noticed anyway, or of this attempt.
        if let Ok(now) = declare::topology(session).await {
            self.known.send_if_modified(|state| match state {
                State::Here { conflict, .. } if conflict.as_deref() != now.as_deref() => {
                    *conflict = now.map(Arc::from);
                    true
                }
                _ => false,
            });
            self.tell();
        }
    }

    /// Logs what is wrong with the connection that is here, and when it no longer is.
    fn tell(&mut self) {
        let trouble = match &*self.known.borrow() {
            State::Here { blocked, conflict, .. } => blocked.clone().or_else(|| conflict.clone()),
            State::Away(_) => return,
        };
        match trouble {
            Some(why) => self.warn(&why),
            None if self.logged.take().is_some() => {
                tracing::info!(bus.connection = self.purpose, "RabbitMQ is as it should be again");
            }
            None => {}
        }
    }

    fn warn(&mut self, why: &str) {
        if self.logged.as_deref() != Some(why) {
            tracing::warn!(bus.connection = self.purpose, "{why}");
            self.logged = Some(why.to_owned());
        }
    }
}

/// The last of the events that have come already.
fn drain(events: &mut (impl Stream<Item = Event> + Unpin), why: &mut Option<lapin::Error>) {
    use futures::FutureExt;
    while let Some(Some(event)) = events.next().now_or_never() {
        if let Event::Error(error) = event {
            *why = Some(error);
        }
    }
}
