//! What a service's `main` does, so that it fits on a page:
//!
//! ```text
//! fn main() -> std::process::ExitCode {
//!     sker_runtime::program::main(|config: Config, shutdown| async move {
//!         let listeners = Listeners { http: bind(&config.http.host, config.http.port)?, grpc: None };
//!         let deps = Deps::connect(&config).await?;
//!         sker_store::build(config, deps, listeners).await?.run(shutdown).await
//!     })
//! }
//! ```

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use clap::{CommandFactory, FromArgMatches, Parser};
use sker_config::{Action, CommonArgs, EXIT_CONFIG, Faults, Layers, normalise_args};
use sker_telemetry::TelemetryConfig;
use tokio_util::sync::CancellationToken;

use crate::{HttpConfig, signal};

/// How long `--health` waits for the service.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(3);

/// What [`main`] needs to know of a service's configuration.
pub trait ServiceConfig: Sized {
    /// The service's name, for example `store`.
    const SERVICE: &'static str;
    /// Its version, `env!("CARGO_PKG_VERSION")`.
    const VERSION: &'static str;
    /// One line on what it is, for `--help`.
    const ABOUT: &'static str;

    /// Its layers: `Layers::from_process` with its defaults and flat names.
    fn layers(args: &CommonArgs) -> Layers;
    /// Loads and validates.
    fn load(layers: &Layers) -> Result<Self, Faults>;
    /// Where `--health` asks.
    fn http(&self) -> &HttpConfig;
    /// How it logs.
    fn telemetry(&self) -> &TelemetryConfig;
}

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    common: CommonArgs,
}

/// Reads the flags, loads the configuration, starts telemetry, and runs `serve` with a token that signals cancel. Statuses:
/// 0, 1 when the service failed, 64 when the configuration or the flags are wrong.
pub fn main<C, F, Fut>(serve: F) -> ExitCode
where
    C: ServiceConfig,
    F: FnOnce(C, CancellationToken) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let command = Arguments::command().name(C::SERVICE).version(version::<C>()).about(C::ABOUT);
    let parsed = command
        .try_get_matches_from(normalise_args(std::env::args_os()))
        .and_then(|matches| Arguments::from_arg_matches(&matches));
    match parsed {
        Ok(arguments) => act::<C, F, Fut>(&arguments.common, serve),
        Err(error) => {
            // When even that cannot be written, the status still tells.
            let _ = error.print();
            if error.use_stderr() { ExitCode::from(EXIT_CONFIG) } else { ExitCode::SUCCESS }
        }
    }
}

/// Its version, with the commit it was built of when whoever built it said so (`SKER_COMMIT`).
fn version<C: ServiceConfig>() -> &'static str {
    match option_env!("SKER_COMMIT") {
        // Once per process.
        Some(commit) if !commit.is_empty() => Box::leak(format!("{} ({commit})", C::VERSION).into_boxed_str()),
        _ => C::VERSION,
    }
}

fn act<C, F, Fut>(args: &CommonArgs, serve: F) -> ExitCode
where
    C: ServiceConfig,
    F: FnOnce(C, CancellationToken) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let layers = C::layers(args);
    if args.action() == Action::DumpConfig {
        return match sker_config::dump(&layers) {
            Ok(text) => {
                print!("{text}");
                ExitCode::SUCCESS
            }
            Err(faults) => refuse(&faults),
        };
    }
    let config = match C::load(&layers) {
        Ok(config) => config,
        Err(faults) => return refuse(&faults),
    };
    match args.action() {
        Action::CheckConfig => {
            println!("the configuration of {} is right", C::SERVICE);
            ExitCode::SUCCESS
        }
        Action::Health => report(probe(config.http())),
        Action::Run | Action::DumpConfig => report(run(config, serve)),
    }
}

fn refuse(faults: &Faults) -> ExitCode {
    eprintln!("{faults}");
    ExitCode::from(EXIT_CONFIG)
}

fn report(outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", sker_config::redact_text(&format!("{error:#}")));
            ExitCode::FAILURE
        }
    }
}

fn run<C, F, Fut>(config: C, serve: F) -> anyhow::Result<()>
where
    C: ServiceConfig,
    F: FnOnce(C, CancellationToken) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name(C::SERVICE)
        .build()
        .context("cannot start the runtime")?;
    // The guard flushes when it goes, so it goes last but for the runtime that it may need for that.
    runtime.block_on(async {
        let _telemetry = sker_telemetry::init(C::SERVICE, config.telemetry()).context("cannot start telemetry")?;
        let shutdown = signal::shutdown_token().context("cannot listen for signals")?;
        serve(config, shutdown).await
    })
}

/// Asks the service that runs with this configuration for `/health`.
fn probe(http: &HttpConfig) -> anyhow::Result<()> {
    let status = health_status(reachable(http)?)?;
    anyhow::ensure!(status == 200, "the service answers {status}");
    Ok(())
}

/// The listen address, or loopback when the service listens on all.
fn reachable(http: &HttpConfig) -> anyhow::Result<SocketAddr> {
    let mut addresses =
        (http.host.as_str(), http.port).to_socket_addrs().context("cannot resolve the listen address")?;
    let mut address = addresses.next().context("the listen address resolves to nothing")?;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    Ok(address)
}

fn health_status(address: SocketAddr) -> anyhow::Result<u16> {
    let mut stream = TcpStream::connect_timeout(&address, HEALTH_TIMEOUT).context("the service does not listen")?;
    stream.set_read_timeout(Some(HEALTH_TIMEOUT))?;
    stream.set_write_timeout(Some(HEALTH_TIMEOUT))?;
    let request = format!("GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).context("the service does not answer")?;
    let status = str::from_utf8(&head).ok().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.parse().ok());
    status.context("the answer is not HTTP")
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::bind;

    /// What `--health` finds when the service answers with this.
    fn probed(answer: &'static str) -> anyhow::Result<()> {
        let listener = bind("127.0.0.1", 0)?;
        listener.set_nonblocking(false)?;
        let http =
            HttpConfig { host: "0.0.0.0".to_owned(), port: listener.local_addr()?.port(), ..HttpConfig::default() };
        let service = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // All of it: a socket that is closed with something unread resets the connection and takes the answer along.
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            assert!(request.starts_with(b"GET /health HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let outcome = probe(&http);
        service.join().expect("the service answers");
        outcome
    }

    #[test]
    fn a_health_check_succeeds_only_when_the_service_says_so() {
        probed("HTTP/1.1 200 OK\r\n\r\n").unwrap();
        assert_eq!(
            probed("HTTP/1.1 503 Service Unavailable\r\n\r\n").unwrap_err().to_string(),
            "the service answers 503"
        );
        assert_eq!(probed("SSH-2.0-OpenSSH_9.9").unwrap_err().to_string(), "the answer is not HTTP");
    }

    #[test]
    fn a_health_check_fails_when_nothing_listens() {
        let port = bind("127.0.0.1", 0).unwrap().local_addr().unwrap().port();
        let http = HttpConfig { port, ..HttpConfig::default() };
        assert_eq!(probe(&http).unwrap_err().to_string(), "the service does not listen");
    }
}
