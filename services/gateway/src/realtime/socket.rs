//! `GET /ws`: the realtime protocol over a WebSocket (RFC 6455).

use std::{collections::HashMap, rc::Rc, sync::Arc, time::Duration};

use futures::{SinkExt, StreamExt};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use sker_error::{Code, Error, Result};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message, Utf8Bytes,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{
    Feed, Item, Mailbox, Outgoing, Session,
    end::{End, Trouble, shorten},
};
use crate::{
    app::frame::{self, ClientFrame, Named},
    http::Worker,
};

/// Items taken from the queue before what was written is sent off.
const BATCH: usize = 64;

/// Serves a socket until one side ends it.
pub(super) async fn run(worker: Rc<Worker>, upgrade: OnUpgrade, session: Option<Session>, request_id: Arc<str>) {
    let Ok(upgraded) = upgrade.await else { return };
    let limits = &worker.gateway.config.realtime;
    let config = WebSocketConfig::default()
        .read_buffer_size(8 * 1024)
        .write_buffer_size(16 * 1024)
        .max_message_size(Some(limits.max_message_bytes))
        .max_frame_size(Some(limits.max_message_bytes));
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
    let mailbox = worker.gateway.hub.open();
    let mut connection = Connection {
        slow: mailbox.slow(),
        stop: worker.stop.clone(),
        worker,
        socket,
        mailbox,
        session,
        request_id,
        feeds: HashMap::new(),
        heard: Instant::now(),
    };
    let end = connection.serve().await.err().unwrap_or(End::Gone);
    connection.close(end).await;
}

struct Connection {
    worker: Rc<Worker>,
    socket: WebSocketStream<TokioIo<Upgraded>>,
    mailbox: Mailbox,
    slow: CancellationToken,
    stop: CancellationToken,
    session: Option<Session>,
    request_id: Arc<str>,
    /// By the channel's full name.
    feeds: HashMap<String, Feed>,
    heard: Instant,
}

impl Connection {
    async fn serve(&mut self) -> Result<(), End> {
        let limits = self.worker.gateway.config.realtime.clone();
        let opened = Instant::now();
        if self.session.is_some() {
            self.welcome().await?;
        }
        let mut ping = interval(limits.ping);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ping.reset();
        loop {
            self.flush().await?;
            let expiry = match &self.session {
                Some(session) => Instant::now() + session.left(),
                None => opened + limits.auth,
            };
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(End::Away),
                () = self.slow.cancelled() => return Err(End::slow()),
                () = sleep_until(expiry) => {
                    let message = if self.session.is_some() { "the token has expired" } else { "no token came in time" };
                    return Err(End::unauthenticated(Error::unauthenticated(message)));
                }
                _ = ping.tick() => {
                    if self.heard.elapsed() >= limits.idle {
                        return Err(End::Close(4408, Error::timeout("the client is silent")));
                    }
                    self.put(Message::Ping(bytes::Bytes::new())).await?;
                }
                message = self.socket.next() => {
                    self.heard = Instant::now();
                    self.hear(message).await?;
                }
                Some(item) = self.mailbox.recv() => self.pass_on(item).await?,
            }
        }
    }

    async fn welcome(&mut self) -> Result<(), End> {
        let Some(session) = &self.session else { return Ok(()) };
        let expires_at = session.expires_at().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        let text = frame::authenticated(session.subject(), &expires_at);
        self.say(text).await
    }

    async fn hear(&mut self, message: Option<Result<Message, tungstenite::Error>>) -> Result<(), End> {
        match message {
            Some(Ok(Message::Text(text))) => self.handle(text.as_str()).await,
            Some(Ok(Message::Binary(_))) => {
                let error = Error::invalid_request("frames are text");
                self.say(frame::error(&error, None)).await
            }
            // Pings are answered by the library; after a close it ends the stream.
            Some(Ok(_)) => Ok(()),
            Some(Err(tungstenite::Error::Capacity(_))) => {
                let most = self.worker.gateway.config.realtime.max_message_bytes;
                let error = Error::new(Code::PayloadTooLarge, format!("a message may have at most {most} bytes"));
                Err(End::Close(1009, error))
            }
            Some(Err(tungstenite::Error::Utf8(_))) => Err(End::Close(1007, Error::invalid_request("frames are UTF-8"))),
            Some(Err(_)) | None => Err(End::Gone),
        }
    }

    async fn handle(&mut self, text: &str) -> Result<(), End> {
        let Named { reference, content } = frame::parse(text);
        let reference = reference.as_ref();
        let outcome = match content {
            Ok(ClientFrame::Auth { token }) => return self.authenticate(&token, reference).await,
            Ok(frame) if self.session.is_none() => {
                drop(frame);
                let error = Error::unauthenticated("the first frame must be auth");
                return Err(End::unauthenticated(error));
            }
            Ok(frame) => {
                // Each frame is a request of its own: what the store and the broker do about it is one trace.
                let span = tracing::info_span!("realtime.frame", request_id = %self.request_id);
                self.act(frame, reference).instrument(span).await
            }
            Err(error) => Err(Trouble::Frame(error)),
        };
        match outcome {
            Ok(()) => Ok(()),
            Err(Trouble::End(end)) => Err(end),
            Err(Trouble::Frame(error)) => {
                if error.code().http_status() >= 500 {
                    sker_runtime::log_failure(&error);
                }
                self.say(frame::error(&error, reference)).await
            }
        }
    }

    async fn authenticate(&mut self, token: &str, reference: Option<&Value>) -> Result<(), End> {
        let gateway = Arc::clone(&self.worker.gateway);
        let outcome = match &mut self.session {
            Some(session) => session.renew(&gateway, token),
            None => Session::begin(&gateway, token, Arc::clone(&self.request_id)).map(|session| {
                self.session = Some(session);
            }),
        };
        match outcome {
            Ok(()) => self.welcome().await,
            // A bad renewal leaves the session as it was; it ends when its own token does.
            Err(error) if self.session.is_some() => self.say(frame::error(&error, reference)).await,
            Err(error) => Err(End::unauthenticated(error)),
        }
    }

    async fn act(&mut self, frame: ClientFrame, reference: Option<&Value>) -> Result<(), Trouble> {
        let Some(session) = self.session.clone() else { return Ok(()) };
        let gateway = Arc::clone(&self.worker.gateway);
        let text = match frame {
            ClientFrame::Ping => frame::pong(reference),
            ClientFrame::Subscribe { channel, after } => {
                return self.subscribe(&session, channel, after, reference).await;
            }
            ClientFrame::Unsubscribe { channel } => {
                let known = self.feeds.values().find(|feed| feed.shown == channel || feed.channel == channel);
                if let Some(full) = known.map(|feed| feed.channel.clone()) {
                    self.mailbox.leave(&full);
                    self.feeds.remove(&full);
                }
                frame::unsubscribed(&channel, reference)
            }
            ClientFrame::Submit { project_id, data } => {
                let id = session.submit(&gateway, project_id, data).await?;
                frame::accepted(&id, reference)
            }
            ClientFrame::Cancel { id } => {
                session.cancel(&gateway, id.clone()).await?;
                frame::accepted(&id, reference)
            }
            // Dealt with before.
            ClientFrame::Auth { .. } => return Ok(()),
        };
        Ok(self.say(text).await?)
    }

    async fn subscribe(
        &mut self,
        session: &Session,
        shown: String,
        after: Option<u64>,
        reference: Option<&Value>,
    ) -> Result<(), Trouble> {
        let gateway = Arc::clone(&self.worker.gateway);
        let channel = session.channel(&gateway, &shown).await?;
        let most = gateway.config.realtime.max_subscriptions;
        let known = self.feeds.get(&channel).cloned();
        let is_new = known.is_none();
        if is_new {
            if self.feeds.len() >= most {
                return Err(Error::conflict(format!("a socket may have at most {most} subscriptions")).into());
            }
            // Joined before the log is read: what comes in between is heard twice and told apart, never missed.
            self.mailbox.join(&channel);
        }
        let begun = async {
            let mut feed = match known {
                Some(feed) => feed.seen_from(shown.clone(), after),
                None => Feed::begin(channel.clone(), shown.clone(), after, &gateway.log).await?,
            };
            let latest = feed.last();
            let missed = if after.is_some() { feed.catch_up(&gateway.log).await? } else { Vec::new() };
            Ok((feed, latest, missed))
        };
        match begun.await {
            Ok((feed, latest, missed)) => {
                self.feeds.insert(channel, feed);
                self.say(frame::subscribed(&shown, latest, reference)).await?;
                Ok(self.pass_all(&shown, missed).await?)
            }
            Err(error) => {
                // Nothing has changed: the client asks again, and what it had goes on.
                if is_new {
                    self.mailbox.leave(&channel);
                }
                Err(Trouble::Frame(error))
            }
        }
    }

    /// Passes on what is in the queue, a batch at a time.
    async fn pass_on(&mut self, first: Item) -> Result<(), End> {
        let gateway = Arc::clone(&self.worker.gateway);
        let mut next = Some(first);
        let mut passed = 0;
        while let Some(item) = next {
            let channel = match &item {
                Item::Event(event) => event.channel.as_str(),
                Item::Look(channel) => channel,
            };
            // What was still in the queue when the client unsubscribed is not for it any more.
            if let Some(feed) = self.feeds.get_mut(channel) {
                let out = tokio::select! {
                    biased;
                    () = self.stop.cancelled() => return Err(End::Away),
                    () = self.slow.cancelled() => return Err(End::slow()),
                    out = feed.hear(item, &gateway.log) => out,
                };
                match out {
                    Ok(out) => {
                        let shown = feed.shown.clone();
                        self.pass_all(&shown, out).await?;
                    }
                    Err(error) => gateway.hub.owe(&feed.channel, &error),
                }
            }
            passed += 1;
            next = if passed < BATCH { self.mailbox.try_recv() } else { None };
        }
        Ok(())
    }

    async fn pass_all(&mut self, shown: &str, out: Vec<Outgoing>) -> Result<(), End> {
        for one in out {
            let text = match one {
                Outgoing::Event(event) => event.text_as(shown),
                Outgoing::Reset(latest) => frame::reset(shown, latest).into(),
            };
            self.put(Message::Text(text)).await?;
        }
        Ok(())
    }

    async fn say(&mut self, text: impl Into<Utf8Bytes>) -> Result<(), End> {
        self.put(Message::Text(text.into())).await
    }

    /// Writes a message; it may stay in the buffer until [`Connection::flush`]. A client that takes nothing cannot hold us
    /// here: when its queue runs over, that ends the wait.
    async fn put(&mut self, message: Message) -> Result<(), End> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(End::Away),
            () = self.slow.cancelled() => Err(End::slow()),
            sent = self.socket.feed(message) => sent.map_err(|_| End::Gone),
        }
    }

    async fn flush(&mut self) -> Result<(), End> {
        tokio::select! {
            biased;
            flushed = self.socket.flush() => flushed.map_err(|_| End::Gone),
            () = self.stop.cancelled() => Err(End::Away),
            () = self.slow.cancelled() => Err(End::slow()),
        }
    }

    /// Says why, says goodbye, and waits a little for the client to do the same.
    async fn close(self, end: End) {
        let grace = self.worker.gateway.config.realtime.close;
        let Connection { mut socket, mailbox, .. } = self;
        drop(mailbox);
        let (code, error) = match end {
            End::Gone => return,
            End::Away => (1001, None),
            End::Close(code, error) => (code, Some(error)),
        };
        let reason = error.as_ref().map_or("the gateway is going away", |error| error.message());
        let reason: Utf8Bytes = shorten(reason).into();
        let goodbye = async {
            if let Some(error) = &error {
                socket.send(Message::Text(frame::error(error, None).into())).await?;
            }
            socket.close(Some(CloseFrame { code: CloseCode::from(code), reason })).await?;
            while let Some(message) = socket.next().await {
                message?;
            }
            Ok::<_, tungstenite::Error>(())
        };
        // Whether the client hears it is its own affair.
        let _ = timeout(grace.max(Duration::from_millis(1)), goodbye).await;
    }
}
