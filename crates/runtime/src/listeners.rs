use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

use anyhow::Context;
use socket2::{Domain, Protocol, Socket, Type};

/// Connections that may wait to be accepted; what the kernel allows caps it.
const BACKLOG: i32 = 1024;

/// The sockets of a service. Whoever builds a service binds them, so that a test hands in port 0 and reads the real one.
#[derive(Debug)]
pub struct Listeners {
    /// For HTTP.
    pub http: TcpListener,
    /// For gRPC, when the service has it.
    pub grpc: Option<TcpListener>,
}

impl Listeners {
    /// Free ports on loopback, for tests and for `sker demo`.
    pub fn free(grpc: bool) -> anyhow::Result<Self> {
        let grpc = grpc.then(|| bind("127.0.0.1", 0)).transpose()?;
        Ok(Listeners { http: bind("127.0.0.1", 0)?, grpc })
    }

    /// Where HTTP is heard.
    pub fn http_address(&self) -> anyhow::Result<SocketAddr> {
        self.http.local_addr().context("the HTTP socket has no address")
    }

    /// Where gRPC is heard.
    pub fn grpc_address(&self) -> anyhow::Result<Option<SocketAddr>> {
        self.grpc.as_ref().map(|socket| socket.local_addr().context("the gRPC socket has no address")).transpose()
    }
}

/// Binds a TCP socket, ready for an asynchronous server. `host` is a name or an address; port 0 takes a free one.
pub fn bind(host: &str, port: u16) -> anyhow::Result<TcpListener> {
    let addresses =
        (host, port).to_socket_addrs().with_context(|| format!("cannot resolve the listen address {host}"))?;
    let mut refused = anyhow::anyhow!("the listen address {host} resolves to nothing");
    for address in addresses {
        match listen(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => refused = anyhow::Error::new(error).context(format!("cannot listen on {address}")),
        }
    }
    Err(refused)
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restarted service must not wait for the last one's connections to leave TIME_WAIT.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
