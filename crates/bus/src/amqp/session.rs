//! One connection, from its opening to its end, and bounded conversations on it.

use std::{
    future::Future,
    net::Shutdown,
    os::fd::AsFd,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::FutureExt;
use lapin::{
    AsyncTcpStream, Channel, Connection, ConnectionProperties, ErrorKind,
    tcp::TLSConfig,
    types::ReplyCode,
    uri::{AMQPScheme, AMQPUri},
};
use sker_error::{Error, Result};
use tokio_util::sync::CancellationToken;

use super::config::Settings;

/// RabbitMQ: no such queue or exchange.
pub(super) const NOT_FOUND: ReplyCode = 404;
/// RabbitMQ: it exists, and is another kind or has other arguments.
pub(super) const PRECONDITION_FAILED: ReplyCode = 406;

/// What a memory or disk alarm means for publishers.
pub(super) const BLOCKED: &str = "RabbitMQ takes no messages: it is short of memory or disk";

/// A connection that was open once. Clones share it.
#[derive(Clone)]
pub(super) struct Session(Arc<Inner>);

struct Inner {
    connection: Connection,
    socket: Socket,
    ended: CancellationToken,
    /// Whether there are numbers of channels that cannot be used again.
    worn: AtomicBool,
    timeout: Duration,
}

impl Session {
    /// Connects and logs in.
    pub(super) async fn open(settings: &Settings, purpose: &str) -> Result<Session> {
        let name = format!("{} {purpose}", settings.name);
        let patience = settings.connect_timeout;
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let runtime = lapin::runtime::default_runtime().map_err(|error| failed("no runtime", error))?;
        let socket = Socket::default();
        let unfinished = Unfinished(Some(socket.clone()));
        let opened = socket.clone();
        let reactor = runtime.clone();
        let connect = async move |uri: AMQPUri, _| {
            let addresses = reactor.to_socket_addrs((uri.authority.host.clone(), uri.authority.port));
            // Without a limit of its own, lapin's thread would be there for as long as the system tries.
            let connecting = tokio::time::timeout(patience, AsyncTcpStream::connect(&reactor, addresses));
            let stream = connecting.await.map_err(std::io::Error::from)??;
            if let AsyncTcpStream::Plain(stream) = &stream {
                opened.keep(stream.get_ref())?;
            }
            match uri.scheme {
                AMQPScheme::AMQP => Ok(stream),
                AMQPScheme::AMQPS => Ok(stream.into_tls(&uri.authority.host, TLSConfig::default()).await?),
            }
        };
        let opening = Connection::connector(settings.uri.clone(), runtime, connect, properties);
        // lapin waits for ever for a server that accepts and stays silent, in a thread that only the end of the socket ends.
        match tokio::time::timeout(patience, opening).await {
            Ok(Ok(connection)) => {
                unfinished.finish();
                Ok(Session(Arc::new(Inner {
                    connection,
                    socket,
                    ended: CancellationToken::new(),
                    worn: AtomicBool::new(false),
                    timeout: settings.timeout,
                })))
            }
            Ok(Err(error)) => Err(failed("RabbitMQ cannot be reached", error)),
            Err(_) => Err(Error::unavailable("RabbitMQ cannot be reached: it does not answer")),
        }
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.0.connection
    }

    /// Is cancelled when the connection is known to be gone.
    pub(super) fn ended(&self) -> &CancellationToken {
        &self.0.ended
    }

    /// Whether it is the same connection.
    pub(super) fn is(&self, other: &Session) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// A new channel.
    ///
    /// RabbitMQ refuses none, but lapin does: with the error that once ended a channel of the same number, as long as the
    /// connection lives. Such a number is not given out again after that, so one comes to the next, until there is none.
    pub(super) async fn channel(&self) -> Result<Channel, Failure> {
        loop {
            match self.ask(self.0.connection.create_channel()).await {
                Err(failure) if failure.code().is_some() => self.0.worn.store(true, Ordering::Relaxed),
                Err(Failure::Refused(error))
                    if matches!(error.kind(), ErrorKind::ChannelsLimitReached)
                        && self.0.worn.load(Ordering::Relaxed) =>
                {
                    self.end();
                    return Err(Failure::Lost);
                }
                result => return result,
            }
        }
    }

    /// Waits for an answer, but neither for ever nor longer than the connection lives.
    pub(super) async fn ask<T>(&self, question: impl Future<Output = lapin::Result<T>>) -> Result<T, Failure> {
        tokio::select! {
            answer = tokio::time::timeout(self.0.timeout, question) => match answer {
                Ok(answer) => answer.map_err(Failure::from),
                Err(_) => Err(Failure::Silence),
            },
            () = self.0.ended.cancelled() => Err(Failure::Lost),
        }
    }

    /// Closes a channel that may be in any state. Only dropping it would do, but lapin gives up the whole connection when the
    /// server closes the channel at the same moment.
    pub(super) async fn retire(&self, channel: Channel) {
        if channel.status().connected() {
            let closing = self.ask(channel.close(200, "OK".into()));
            if self.0.connection.status().blocked() {
                // Nothing is answered while it is. Begun is enough.
                let _ = closing.now_or_never();
            } else {
                // Then it is closed, or the connection is about to be.
                let _ = closing.await;
            }
        }
    }

    /// The end of it, whatever state it is in: everything that waits for it is told.
    pub(super) fn end(&self) {
        self.0.ended.cancel();
        self.0.socket.shut();
    }

    /// Says goodbye before the end.
    pub(super) async fn close(&self) {
        if self.0.connection.status().connected() {
            // A connection that RabbitMQ has blocked does not answer.
            let _ = tokio::time::timeout(Duration::from_secs(1), self.0.connection.close(200, "OK".into())).await;
        }
        self.end();
    }
}

/// A second handle on a connection's socket, to end what lapin cannot be told to end. Without one it was shut before there
/// was a socket.
#[derive(Clone, Default)]
struct Socket(Arc<OnceLock<Option<std::net::TcpStream>>>);

impl Socket {
    /// Fails when it is shut already: nobody waits for this connection any more.
    fn keep(&self, stream: impl AsFd) -> std::io::Result<()> {
        let socket = stream.as_fd().try_clone_to_owned()?.into();
        self.0.set(Some(socket)).map_err(|_| std::io::ErrorKind::ConnectionAborted.into())
    }

    fn shut(&self) {
        if let Some(socket) = self.0.get_or_init(|| None) {
            // An error means that it is closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

/// Ends an attempt to connect that nobody waits for any more.
struct Unfinished(Option<Socket>);

impl Unfinished {
    fn finish(mut self) {
        self.0 = None;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(socket) = &self.0 {
            socket.shut();
        }
    }
}

/// Why RabbitMQ did not do what it was asked.
#[derive(Debug)]
pub(super) enum Failure {
    /// It said so, or the connection broke.
    Refused(lapin::Error),
    /// No answer came in time.
    Silence,
    /// The connection ended.
    Lost,
    /// RabbitMQ takes no messages on the connection.
    Blocked,
    /// There was no connection to ask on, and why.
    Away(Error),
}

impl From<lapin::Error> for Failure {
    fn from(error: lapin::Error) -> Self {
        Failure::Refused(error)
    }
}

impl Failure {
    /// RabbitMQ's code, if it is the answer to this question alone and not to everything on the connection.
    pub(super) fn code(&self) -> Option<ReplyCode> {
        match self {
            Failure::Refused(error) if error.is_amqp_soft_error() => match error.kind() {
                ErrorKind::ProtocolError(error) => Some(error.get_id()),
                _ => None,
            },
            _ => None,
        }
    }

    /// RabbitMQ's words.
    pub(super) fn text(&self) -> String {
        match self {
            Failure::Refused(error) => words(error),
            Failure::Silence => "RabbitMQ does not answer".to_owned(),
            Failure::Lost => "the connection to RabbitMQ was lost".to_owned(),
            Failure::Blocked => BLOCKED.to_owned(),
            Failure::Away(why) => why.message().to_owned(),
        }
    }

    /// The same for callers, for whom all of them pass.
    pub(super) fn unavailable(self, what: &str) -> Error {
        match self {
            Failure::Refused(error) => failed(what, error),
            _ => Error::unavailable(format!("{what}: {}", self.text())),
        }
    }
}

fn words(error: &lapin::Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(error) => error.get_message().to_string(),
        _ => error.to_string(),
    }
}

fn failed(what: &str, error: lapin::Error) -> Error {
    Error::unavailable(format!("{what}: {}", words(&error))).with_cause(error)
}
