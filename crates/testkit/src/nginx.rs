//! nginx with the configuration of this repository.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use tokio::net::TcpStream;

use crate::{
    daemon::{Account, Daemon, Home, find, start_somewhere, until_ready},
    free_port,
};

/// An nginx of one's own, on free ports of the loopback interface.
pub struct NginxServer {
    // Ended before the directory that it is in.
    _daemon: Daemon,
    http: u16,
    grpc: u16,
    home: Home,
}

impl NginxServer {
    /// Starts nginx with a template, filled in as its image does it (`${SKER_NGINX_...}`). `gateway` is what it passes requests
    /// on to, name and port; `dns` knows that name.
    pub async fn start(template: &str, gateway: &str, dns: SocketAddr) -> Result<Self> {
        start_somewhere(async || {
            let home = Home::new("nginx", Account::other_than_root(&["www-data", "nginx"])?)?;
            let (http, grpc) = (free_port()?, free_port()?);
            let directory = home.path().to_str().context("a temporary directory is UTF-8")?;
            let filled = [
                ("LISTEN", format!("127.0.0.1:{http}")),
                // A port of its own, which every version can.
                ("HTTP2", format!("listen 127.0.0.1:{grpc} http2;")),
                ("RESOLVER", dns.to_string()),
                ("GATEWAY", gateway.to_owned()),
                ("TMP", directory.to_owned()),
                ("BODY_LIMIT", "64m".to_owned()),
                ("CONNECTIONS", "2048".to_owned()),
            ]
            .into_iter()
            .fold(template.to_owned(), |text, (name, value)| text.replace(&format!("${{SKER_NGINX_{name}}}"), &value));
            let file = home.join("nginx.conf");
            std::fs::write(&file, filled)?;
            let mut command = home.command(&find("nginx", &[], "nginx")?)?;
            command.arg("-c").arg(file).args(["-e", "stderr", "-g", "daemon off;"]);
            let mut daemon = Daemon::start(&home, command, Signal::SIGTERM)?;
            until_ready(&mut daemon, &home, async || TcpStream::connect(("127.0.0.1", http)).await.is_ok()).await?;
            Ok(NginxServer { _daemon: daemon, http, grpc, home })
        })
        .await
    }

    /// Where it takes HTTP/1.1.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    /// Where it takes HTTP/2 without TLS, for gRPC.
    pub fn grpc_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.grpc)
    }

    /// All that it has logged.
    pub fn log(&self) -> Result<String> {
        std::fs::read_to_string(self.home.log()).context("nginx has no log")
    }
}
