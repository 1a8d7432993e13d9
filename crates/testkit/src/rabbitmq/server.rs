use std::{fs, time::Duration};

use anyhow::Result;
use nix::sys::signal::Signal;
use reqwest::Method;
use tokio::net::TcpStream;

use super::{Management, TestVhost};
use crate::{
    daemon::{Daemon, Home, find, start_somewhere, until_ready},
    free_port,
};

const PACKAGE: &str = "rabbitmq-server";
/// Debian keeps the scripts that run a node as whoever calls them apart from those that change to its system user.
const DIRECTORIES: [&str; 1] = ["/usr/lib/rabbitmq/bin"];

/// A RabbitMQ server of one's own, with a name daemon (epmd) of its own, on free ports of the loopback interface and with its
/// data in a temporary directory.
pub struct RabbitServer {
    daemon: Daemon,
    // After the node, which is registered with it.
    #[expect(dead_code, reason = "ended when dropped")]
    names: Daemon,
    ports: Ports,
    management: Management,
    // After the processes, which are in it.
    home: Home,
}

#[derive(Clone, Copy)]
struct Ports {
    amqp: u16,
    management: u16,
    distribution: u16,
    names: u16,
}

impl RabbitServer {
    /// Starts a server.
    pub async fn start() -> Result<Self> {
        start_somewhere(async || {
            let home = Home::new("rabbitmq", None)?;
            let ports =
                Ports { amqp: free_port()?, management: free_port()?, distribution: free_port()?, names: free_port()? };
            configure(&home, ports)?;
            let mut names = Daemon::start(&home, names_command(&home, ports)?, Signal::SIGKILL)?;
            until_ready(&mut names, &home, async || TcpStream::connect(("127.0.0.1", ports.names)).await.is_ok())
                .await?;
            let daemon = Daemon::start(&home, command(&home, ports)?, Signal::SIGKILL)?;
            let management = Management::new(&management_url(ports))?;
            let mut server = RabbitServer { daemon, names, ports, management, home };
            server.until_ready().await?;
            Ok(server)
        })
        .await
    }

    /// The AMQP URL without a virtual host, as an administrator.
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}", self.ports.amqp)
    }

    /// The URL of the management API, as an administrator.
    pub fn management_url(&self) -> String {
        management_url(self.ports)
    }

    /// The port of AMQP.
    pub fn port(&self) -> u16 {
        self.ports.amqp
    }

    /// A new virtual host.
    pub async fn vhost(&self) -> Result<TestVhost> {
        TestVhost::make(&self.url(), &self.management_url()).await
    }

    /// The process id of the node.
    pub fn pid(&self) -> u32 {
        self.daemon.pid()
    }

    /// `kill -9` of the node.
    pub async fn kill(&mut self) -> Result<()> {
        self.daemon.kill()
    }

    /// Starts again on the same ports and data, killed before unless it is gone already; waits until it takes clients.
    pub async fn restart(&mut self) -> Result<()> {
        self.daemon.kill()?;
        self.daemon = Daemon::start(&self.home, command(&self.home, self.ports)?, Signal::SIGKILL)?;
        self.until_ready().await
    }

    /// Runs `rabbitmqctl` with these arguments against it.
    pub async fn control(&self, arguments: &[&str]) -> Result<()> {
        let mut control = self.home.command(&find("rabbitmqctl", &DIRECTORIES, PACKAGE)?)?;
        control
            .env("ERL_EPMD_PORT", self.ports.names.to_string())
            .env("RABBITMQ_NODENAME", node(self.ports))
            .env("RABBITMQ_CONF_ENV_FILE", self.home.join("rabbitmq-env.conf"))
            .args(arguments);
        self.home.run(control)
    }

    /// The listeners of AMQP are opened last of all.
    async fn until_ready(&mut self) -> Result<()> {
        let (port, management) = (self.ports.amqp, self.management.clone());
        let path = format!("health/checks/port-listener/{port}");
        until_ready(&mut self.daemon, &self.home, async || {
            let answer = tokio::time::timeout(Duration::from_secs(5), management.send(Method::GET, &path, None)).await;
            answer.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status.is_success()))
        })
        .await
    }
}

fn management_url(ports: Ports) -> String {
    format!("http://guest:guest@127.0.0.1:{}", ports.management)
}

fn configure(home: &Home, ports: Ports) -> Result<()> {
    let settings = format!(
        "listeners.tcp.1 = 127.0.0.1:{}\nmanagement.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {}\n\
         log.console = true\nlog.console.level = warning\nlog.file = false\n",
        ports.amqp, ports.management
    );
    fs::write(home.join("rabbitmq.conf"), settings)?;
    fs::write(home.join("enabled_plugins"), "[rabbitmq_management].\n")?;
    // Instead of the system's.
    fs::write(home.join("rabbitmq-env.conf"), "")?;
    Ok(())
}

fn names_command(home: &Home, ports: Ports) -> Result<std::process::Command> {
    let mut command = home.command(&find("epmd", &["/usr/lib/erlang/erts-*/bin"], "erlang-base")?)?;
    command.args(["-address", "127.0.0.1", "-port"]).arg(ports.names.to_string());
    Ok(command)
}

fn node(ports: Ports) -> String {
    format!("sker{}@localhost", ports.amqp)
}

fn command(home: &Home, ports: Ports) -> Result<std::process::Command> {
    let path = |name: &str| home.join(name);
    let mut command = home.command(&find("rabbitmq-server", &DIRECTORIES, PACKAGE)?)?;
    command
        // The script becomes the node instead of staying its parent, so that our child is the node.
        .env("RUNNING_UNDER_SYSTEMD", "true")
        .env("ERL_EPMD_PORT", ports.names.to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_NODENAME", node(ports))
        .env("RABBITMQ_DIST_PORT", ports.distribution.to_string())
        .env("RABBITMQ_CONF_ENV_FILE", path("rabbitmq-env.conf"))
        .env("RABBITMQ_CONFIG_FILE", path("rabbitmq.conf"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", path("enabled_plugins"))
        .env("RABBITMQ_MNESIA_BASE", path("mnesia"))
        .env("RABBITMQ_LOG_BASE", path("logs"))
        // Its threads do not spin while there is nothing to do: the machine is the tests'.
        .env(
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
            "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none",
        );
    Ok(command)
}
