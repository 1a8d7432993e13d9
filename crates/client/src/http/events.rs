use std::{collections::BTreeMap, time::Duration};

use futures::{FutureExt as _, SinkExt as _, StreamExt as _, future::BoxFuture};
use serde_json::{Value, json};
use sker_error::{Code, Error, Result};
use sker_traffic::backoff::Backoff;
use sker_types::ChannelEvent;
use tokio::{net::TcpStream, time::Instant};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{Message, client::IntoClientRequest as _, http::HeaderValue},
};

use super::Platform;

/// How long the server may stay silent before the connection counts as lost; it is asked for a sign of life sooner.
const SILENCE: Duration = Duration::from_secs(60);
const PING_EVERY: Duration = Duration::from_secs(20);
/// How long the socket may take to open.
const OPENING: Duration = Duration::from_secs(10);
/// How often in a row the socket may be opened again without anything being heard on it.
const RECONNECTS: u32 = 10;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What comes over the realtime socket.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// Something happened on a channel.
    Event(ChannelEvent),
    /// Events of this channel were missed for good: read the state again.
    Reset(String),
    /// An answer to something that was sent: `subscribed`, `ai_task.accepted`, `error`, ...
    Other(Value),
}

/// The realtime socket. A lost connection is opened again, and every channel resumes after the last event seen.
pub struct Events {
    platform: Platform,
    link: Link,
    /// Channel as subscribed, and the last `seq` seen on it.
    channels: BTreeMap<String, Option<u64>>,
    /// When the server last said anything.
    heard: Instant,
    /// When it was last asked to.
    asked: Instant,
    /// Times in a row that the socket was lost, or could not be opened, with nothing heard in between.
    failures: u32,
}

enum Link {
    Open(Box<Socket>),
    /// Kept here and not in [`Events::next`], so that a caller who does not wait for long each time gets there too, and
    /// none finds a socket with half of its channels.
    Opening(BoxFuture<'static, Result<Socket>>),
}

impl Events {
    pub(super) async fn connect(platform: Platform) -> Result<Self> {
        let socket = open(&platform).await?;
        let now = Instant::now();
        let link = Link::Open(Box::new(socket));
        Ok(Events { platform, link, channels: BTreeMap::new(), heard: now, asked: now, failures: 0 })
    }

    /// Listens to a channel; `after` is the last `seq` seen, to resume. The server's answer comes as a frame.
    pub async fn subscribe(&mut self, channel: &str, after: Option<u64>) -> Result<()> {
        self.channels.insert(channel.to_owned(), after);
        let frame = subscription(channel, after);
        self.send(&frame).await
    }

    /// Sends a frame, once the socket is open.
    pub async fn send(&mut self, frame: &Value) -> Result<()> {
        self.opened().await?;
        match &mut self.link {
            Link::Open(socket) => send(&self.platform, socket, frame).await,
            Link::Opening(_) => Err(Error::unavailable("the socket is not open")),
        }
    }

    /// The next frame. Reconnects and resumes as needed; fails when that does not work for long, or when the server ends
    /// the session for good (an expired token, for example). May be dropped and called again: nothing is lost by it.
    pub async fn next(&mut self) -> Result<Frame> {
        loop {
            self.opened().await?;
            let text = match self.receive().await {
                Ok(text) => text,
                Err(error) => {
                    self.lost(error)?;
                    continue;
                }
            };
            self.failures = 0;
            let value: Value = serde_json::from_str(&text)
                .map_err(|error| Error::new(Code::BadGateway, "the server sent no JSON").with_cause(error))?;
            match value["type"].as_str() {
                Some("pong") => {}
                Some("reset") => {
                    let channel = value["channel"].as_str().unwrap_or_default().to_owned();
                    self.channels.entry(channel.clone()).and_modify(|last| *last = value["latest"].as_u64());
                    return Ok(Frame::Reset(channel));
                }
                Some("subscribed") => {
                    // Where a new listener begins: what happens from here on must not be missed, nor before the first event.
                    let last = value["channel"].as_str().and_then(|channel| self.channels.get_mut(channel));
                    if let Some(last @ None) = last {
                        *last = value["latest"].as_u64();
                    }
                    return Ok(Frame::Other(value));
                }
                _ if value["seq"].is_u64() => {
                    let event: ChannelEvent = serde_json::from_value(value).map_err(|error| {
                        Error::new(Code::BadGateway, "the server sent a malformed event").with_cause(error)
                    })?;
                    if let Some(last) = self.channels.get_mut(&event.channel) {
                        *last = Some(event.seq);
                    }
                    return Ok(Frame::Event(event));
                }
                _ => return Ok(Frame::Other(value)),
            }
        }
    }

    async fn receive(&mut self) -> Result<String> {
        loop {
            let Link::Open(socket) = &mut self.link else {
                return Err(Error::unavailable("the socket is not open"));
            };
            let message = match tokio::time::timeout_at(self.heard.max(self.asked) + PING_EVERY, socket.next()).await {
                Ok(message) => message,
                Err(_) if self.heard.elapsed() >= SILENCE => return Err(Error::unavailable("the server fell silent")),
                Err(_) => {
                    self.asked = Instant::now();
                    send(&self.platform, socket, &json!({"type": "ping"})).await?;
                    continue;
                }
            };
            self.heard = Instant::now();
            match message {
                Some(Ok(Message::Text(text))) => return Ok(text.as_str().to_owned()),
                Some(Ok(Message::Close(Some(close)))) if u16::from(close.code) == 4401 => {
                    return Err(Error::unauthenticated(close.reason.as_str()));
                }
                Some(Ok(Message::Close(_))) | None => return Err(Error::unavailable("the server closed the socket")),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(self.platform.unreachable(error)),
            }
        }
    }

    /// Waits until the socket is open.
    async fn opened(&mut self) -> Result<()> {
        while let Link::Opening(opening) = &mut self.link {
            match opening.await {
                Ok(socket) => {
                    self.link = Link::Open(Box::new(socket));
                    self.heard = Instant::now();
                    self.asked = self.heard;
                }
                Err(error) => self.lost(error)?,
            }
        }
        Ok(())
    }

    /// Begins to open the socket again. Hands the error back when that is no use or was in vain too often; a caller who goes
    /// on all the same tries anew.
    fn lost(&mut self, error: Error) -> Result<()> {
        let is_final = !error.is_retryable() || self.failures >= RECONNECTS;
        let failures = if is_final { 0 } else { self.failures };
        let wait = Backoff::new(Duration::from_millis(100), Duration::from_secs(5)).delay(failures);
        self.link = Link::Opening(resume(self.platform.clone(), self.channels.clone(), wait).boxed());
        self.failures = failures + u32::from(!is_final);
        if is_final { Err(error) } else { Ok(()) }
    }
}

/// A new socket with every channel subscribed.
async fn resume(platform: Platform, channels: BTreeMap<String, Option<u64>>, wait: Duration) -> Result<Socket> {
    tokio::time::sleep(wait).await;
    let mut socket = open(&platform).await?;
    for (channel, after) in &channels {
        send(&platform, &mut socket, &subscription(channel, *after)).await?;
    }
    Ok(socket)
}

async fn send(platform: &Platform, socket: &mut Socket, frame: &Value) -> Result<()> {
    socket.send(Message::text(frame.to_string())).await.map_err(|error| platform.unreachable(error))
}

fn subscription(channel: &str, after: Option<u64>) -> Value {
    match after {
        Some(seq) => json!({"type": "subscribe", "channel": channel, "after": seq}),
        None => json!({"type": "subscribe", "channel": channel}),
    }
}

async fn open(platform: &Platform) -> Result<Socket> {
    let mut url = platform.base().join("/ws").map_err(Error::internal)?;
    let scheme = if url.scheme() == "https" { "wss" } else { "ws" };
    url.set_scheme(scheme).map_err(|()| Error::invalid_request("the gateway's URL cannot carry a WebSocket"))?;
    let mut request = url.as_str().into_client_request().map_err(Error::internal)?;
    if let Some(token) = platform.token() {
        let value = HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|error| Error::unauthenticated("the token is malformed").with_cause(error))?;
        request.headers_mut().insert("Authorization", value);
    }
    let opening = tokio::time::timeout(OPENING, tokio_tungstenite::connect_async(request)).await;
    match opening.map_err(|late| Error::timeout("the socket did not open in time").with_cause(late))? {
        Ok((socket, _)) => Ok(socket),
        Err(tokio_tungstenite::tungstenite::Error::Http(response)) => {
            let code = Code::from_http_status(response.status().as_u16());
            Err(Error::new(code, format!("the gateway answered {}", response.status())))
        }
        Err(error) => Err(platform.unreachable(error)),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio_tungstenite::accept_async;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    async fn connected() -> (TcpListener, WebSocketStream<TcpStream>, Events) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let platform = Platform::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let accept = async { accept_async(listener.accept().await.unwrap().0).await.unwrap() };
        let (socket, events) = tokio::join!(accept, platform.events());
        (listener, socket, events.unwrap())
    }

    /// Waits for something of the server as a caller does who looks at the events again and again, never for long.
    async fn glancing<T>(events: &mut Events, awaited: impl Future<Output = T>) -> T {
        tokio::pin!(awaited);
        let glances = async {
            loop {
                tokio::select! {
                    awaited = &mut awaited => return awaited,
                    frame = tokio::time::timeout(Duration::from_millis(1), events.next()) => assert!(frame.is_err()),
                }
            }
        };
        tokio::time::timeout(PATIENCE, glances).await.unwrap()
    }

    #[tokio::test]
    async fn a_silent_server_is_asked_and_then_left_by_a_caller_who_only_glances() {
        let (listener, mut server, mut events) = connected().await;
        events.heard -= PING_EVERY;
        events.asked -= PING_EVERY;
        let frame = glancing(&mut events, server.next()).await.unwrap().unwrap();
        assert_eq!(frame.to_text().unwrap(), r#"{"type":"ping"}"#);
        events.heard -= SILENCE;
        events.asked -= SILENCE;
        glancing(&mut events, listener.accept()).await.unwrap();
    }

    #[tokio::test]
    async fn a_server_that_hangs_up_every_time_is_given_up() {
        let (_listener, _server, mut events) = connected().await;
        for _ in 0..RECONNECTS {
            events.lost(Error::unavailable("hung up")).unwrap();
        }
        assert_eq!(events.lost(Error::unavailable("hung up")).unwrap_err().code(), Code::Unavailable);
        assert!(events.lost(Error::unavailable("a caller who goes on")).is_ok());
        assert!(events.lost(Error::unauthenticated("expired")).is_err());
    }
}
