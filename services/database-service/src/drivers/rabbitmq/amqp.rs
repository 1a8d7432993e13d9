use std::{
    net::{Shutdown, TcpStream},
    os::fd::AsFd,
    sync::{Arc, OnceLock},
};

use lapin::{
    AsyncTcpStream, Connection, ConnectionProperties, Error, ErrorKind,
    protocol::{AMQPErrorKind, AMQPHardError},
    tcp::OwnedTLSConfig,
    uri::{AMQPScheme, AMQPUri},
};
use tokio_util::sync::CancellationToken;

use crate::{
    app::{Failure, Progress, Step},
    drivers::network::{self, Address, CLIENT_NAME},
};

/// A connection that ends with this value, whatever it waits for.
pub struct Amqp {
    connection: Connection,
    _wire: Wire,
}

/// lapin reads the URL, but for the host: it would take an IPv6 address for no host, which is `localhost`.
pub fn uri(url: &str, address: &Address) -> Result<AMQPUri, String> {
    let mut uri: AMQPUri = url.parse().map_err(|_| "is not an AMQP URL".to_owned())?;
    uri.authority.host.clone_from(&address.host);
    Ok(uri)
}

impl Amqp {
    /// Opens a connection and signs in.
    pub async fn connect(url: &str, address: &Address, progress: &Progress) -> Result<Self, Failure> {
        let uri = uri(url, address).map_err(|message| progress.failure(message))?;
        network::choose_tls();
        let wire = Wire::default();
        let runtime = lapin::runtime::default_runtime().map_err(|_| progress.failure("there is no runtime"))?;
        let properties = ConnectionProperties::default().with_connection_name(CLIENT_NAME.into());
        let (ends, steps) = (wire.0.clone(), progress.clone());
        let opened = Connection::connector(
            uri,
            runtime,
            async move |uri: AMQPUri, runtime| {
                let connecting = async {
                    let stream = AsyncTcpStream::connect(
                        &runtime,
                        runtime.to_socket_addrs((uri.authority.host.clone(), uri.authority.port)),
                    )
                    .await?;
                    if let AsyncTcpStream::Plain(stream) = &stream {
                        ends.attach(stream.get_ref().as_fd().try_clone_to_owned()?.into());
                    }
                    if uri.scheme == AMQPScheme::AMQP {
                        steps.enter(Step::Authenticate);
                        return Ok(stream);
                    }
                    steps.enter(Step::Tls);
                    let stream = stream.into_tls(&uri.authority.host, OwnedTLSConfig::default().as_ref()).await?;
                    steps.enter(Step::Authenticate);
                    Ok(stream)
                };
                match ends.cut.run_until_cancelled(connecting).await {
                    Some(result) => result.map_err(|error: std::io::Error| Error::from(error)),
                    None => Err(Error::from(std::io::Error::from(std::io::ErrorKind::ConnectionAborted))),
                }
            },
            properties,
        );
        match opened.await {
            Ok(connection) => Ok(Amqp { connection, _wire: wire }),
            Err(error) => Err(refusal(&error, progress)),
        }
    }

    /// Opens a channel and closes it: the server has to answer both.
    pub async fn round_trip(&self, progress: &Progress) -> Result<(), Failure> {
        let asked = async {
            let channel = self.connection.create_channel().await?;
            channel.close(200, "OK".into()).await
        };
        asked.await.map_err(|error| progress.failure(explain(&error)))
    }

    pub async fn close(&self) {
        let _ = self.connection.close(200, "OK".into()).await;
    }
}

/// The socket beneath a connection. lapin works in a thread of its own, which dropping a future does not stop; a socket
/// that is shut down does.
#[derive(Default)]
struct Wire(Arc<Ends>);

#[derive(Default)]
struct Ends {
    cut: CancellationToken,
    socket: OnceLock<TcpStream>,
}

impl Ends {
    fn attach(&self, socket: TcpStream) {
        let _ = self.socket.set(socket);
        if self.cut.is_cancelled() {
            self.shut_down();
        }
    }

    fn shut_down(&self) {
        if let Some(socket) = self.socket.get() {
            // Fails only when it is shut down already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.0.cut.cancel();
        self.0.shut_down();
    }
}

fn refusal(error: &Error, progress: &Progress) -> Failure {
    match error.kind() {
        // A socket that is closed while signing in is how servers of old said that they refuse.
        ErrorKind::IOError(error) if progress.step() <= Step::Tls => network::connect_failure(error.kind(), progress),
        _ => progress.failure(explain(error)),
    }
}

/// Reply codes in words (AMQP 0-9-1, 1.2); the server's own may name users and virtual hosts.
fn explain(error: &Error) -> String {
    match error.kind() {
        ErrorKind::IOError(error) => network::explain_io(error.kind()),
        ErrorKind::ProtocolError(error) => match error.kind() {
            AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => {
                "the virtual host does not exist, or the user may not use it".to_owned()
            }
            AMQPErrorKind::Hard(AMQPHardError::CONNECTIONFORCED) => "the server ends its connections".to_owned(),
            _ if error.get_id() == 403 => "the server refuses the user or the password".to_owned(),
            _ => format!("the server answers with AMQP error {}", error.get_id()),
        },
        ErrorKind::InvalidConnectionState(_) | ErrorKind::InvalidChannelState(..) => {
            "the server closed the connection".to_owned()
        }
        ErrorKind::MissingHeartbeatError => "the server has fallen silent".to_owned(),
        _ => "the server speaks in a way that is not understood".to_owned(),
    }
}
