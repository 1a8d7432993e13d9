use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::{Api, Launch, Program, Signal, eventually};

/// A service as a program of its own, which may be running or not.
pub struct Service {
    name: String,
    number: usize,
    home: PathBuf,
    host: String,
    http: u16,
    grpc: Option<u16>,
    variables: Vec<(String, String)>,
    settings: Vec<(String, String)>,
    program: Option<Program>,
}

impl Service {
    pub(super) fn new(name: &str, number: usize, home: PathBuf, http: u16, grpc: Option<u16>) -> Self {
        let service = Service {
            name: name.to_owned(),
            number,
            home,
            host: "127.0.0.1".to_owned(),
            http,
            grpc,
            variables: Vec::new(),
            settings: Vec::new(),
            program: None,
        };
        let service = service.set("http.port", &http.to_string());
        match grpc {
            Some(port) => service.set("grpc.port", &port.to_string()),
            None => service,
        }
    }

    /// Sets an environment variable of it, from its next start on.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets a configuration key of it, from its next start on.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Has it serve HTTP at another address of the loopback interface, and port.
    pub(super) fn at(self, host: &str, port: u16) -> Self {
        let service = Service { host: host.to_owned(), http: port, ..self };
        service.set("http.host", host).set("http.port", &port.to_string())
    }

    /// Starts it with its settings on its ports; does not wait for it.
    pub fn start(&mut self) -> Result<()> {
        if self.is_started() {
            bail!("{} has been started", self.label());
        }
        let flags = self.settings.iter().flat_map(|(key, value)| ["--set".to_owned(), format!("{key}={value}")]);
        let launch = Launch::new(&format!("sker-{}", self.name), &self.home).args(flags);
        let launch = self.variables.iter().fold(launch, |launch, (name, value)| launch.env(name, value));
        self.program = Some(launch.start()?);
        Ok(())
    }

    /// Whether it was started and neither killed nor told to end since.
    pub fn is_started(&self) -> bool {
        self.program.is_some()
    }

    /// Its process.
    pub fn program(&mut self) -> Result<&mut Program> {
        let label = self.label();
        self.program.as_mut().with_context(|| format!("{label} is not running"))
    }

    /// Waits until `GET /ready` answers 200; an error when it ends before.
    pub async fn until_ready(&mut self) -> Result<()> {
        let (api, label) = (self.api()?, self.label());
        let program = self.program()?;
        let waited = eventually(&format!("{label} is ready"), async || {
            if program.has_ended()? {
                bail!("{label} ended while it started");
            }
            Ok(api.get("/ready").await.is_ok_and(|answer| answer.status.is_success()).then_some(()))
        })
        .await;
        if let Err(error) = waited {
            // What it says of itself tells why.
            let ready = api.get("/ready").await.map_or_else(|error| error.to_string(), |answer| answer.text);
            return Err(error.context(format!("{}\n{ready}", self.output())));
        }
        Ok(())
    }

    /// `kill -9`.
    pub async fn kill(&mut self) -> Result<()> {
        self.program()?.kill().await?;
        self.program = None;
        Ok(())
    }

    /// Starts it again on the same data, ports and settings, killed before unless it is gone already; waits until it is ready.
    pub async fn restart(&mut self) -> Result<()> {
        if self.is_started() {
            self.kill().await?;
        }
        self.start()?;
        self.until_ready().await
    }

    /// Tells it to end, as an operator would, and waits until it has; answers its exit status.
    pub async fn stop(&mut self) -> Result<Option<i32>> {
        let program = self.program()?;
        program.signal(Signal::SIGTERM)?;
        let code = program.wait(crate::PATIENCE).await?;
        self.program = None;
        Ok(code)
    }

    /// Where it serves HTTP.
    pub fn url(&self) -> String {
        format!("http://{}:{}", self.host, self.http)
    }

    /// A client of its HTTP port, without credentials.
    pub fn api(&self) -> Result<Api> {
        Api::new(&self.url())
    }

    /// The address that it serves HTTP at.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port that it serves HTTP on.
    pub fn port(&self) -> u16 {
        self.http
    }

    /// The port of its gRPC server; an error when it has none.
    pub fn grpc_port(&self) -> Result<u16> {
        self.grpc.with_context(|| format!("{} serves no gRPC", self.label()))
    }

    /// The end of what it wrote, for the message of a failed test.
    pub fn output(&self) -> String {
        let output = self.program.as_ref().map_or_else(|| "(not running)".to_owned(), Program::output);
        format!("=== {}\n{output}", self.label())
    }

    /// Its name and number.
    pub fn label(&self) -> String {
        format!("{} {}", self.name, self.number)
    }
}
