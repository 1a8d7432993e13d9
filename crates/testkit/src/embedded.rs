use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::{Api, Launch, PATIENCE, Program, Signal, eventually, free_port};

/// A platform of one's own: `sker up` on free ports.
pub struct Embedded {
    /// The process.
    pub program: Program,
    home: PathBuf,
    ports: Ports,
    settings: Vec<String>,
}

/// The ports of a platform.
#[derive(Clone, Debug)]
pub struct Ports {
    /// The gateway's.
    pub gateway: u16,
    /// The store's, HTTP and gRPC.
    pub store: (u16, u16),
    /// The broker's, HTTP and gRPC.
    pub broker: (u16, u16),
    /// The registry's, HTTP and gRPC.
    pub registry: (u16, u16),
    /// The database-service's, HTTP and gRPC.
    pub database_service: (u16, u16),
}

impl Ports {
    /// Free ones.
    pub fn free() -> Result<Self> {
        let pair = || Ok::<_, anyhow::Error>((free_port()?, free_port()?));
        Ok(Ports {
            gateway: free_port()?,
            store: pair()?,
            broker: pair()?,
            registry: pair()?,
            database_service: pair()?,
        })
    }

    /// The arguments of `sker up` that set them.
    pub fn arguments(&self) -> Vec<String> {
        let services = [
            ("gateway", (Some(self.gateway), None)),
            ("store", (Some(self.store.0), Some(self.store.1))),
            ("broker", (Some(self.broker.0), Some(self.broker.1))),
            ("registry", (Some(self.registry.0), Some(self.registry.1))),
            ("database-service", (Some(self.database_service.0), Some(self.database_service.1))),
        ];
        let mut arguments = Vec::new();
        for (service, (http, grpc)) in services {
            for (kind, port) in [("http", http), ("grpc", grpc)] {
                if let Some(port) = port {
                    arguments.extend(["--set".to_owned(), format!("{service}.{kind}.port={port}")]);
                }
            }
        }
        arguments
    }
}

impl Embedded {
    /// The command that starts a platform with its data in `home`/data, for tests that add to it.
    pub fn launch(home: &Path, ports: &Ports) -> Launch {
        Launch::new("sker", home).args(["up".into(), "--data-dir".into(), data_dir(home)]).args(ports.arguments())
    }

    /// Starts a platform and waits until it is ready. Its data are in `home`/data: starting again with the same `home`
    /// goes on with them.
    pub async fn start(home: &Path) -> Result<Self> {
        Self::start_with(home, &[]).await
    }

    /// The same with configuration keys set, each as `key=value`.
    pub async fn start_with(home: &Path, settings: &[String]) -> Result<Self> {
        Self::start_on(home, Ports::free()?, settings.to_vec()).await
    }

    /// Starts again after it has ended, or was killed: on the same data and the same ports, as its user would.
    pub async fn restart(mut self) -> Result<Self> {
        if !self.program.has_ended()? {
            bail!("sker up is still running");
        }
        let Embedded { home, ports, settings, .. } = self;
        Self::start_on(&home, ports, settings).await
    }

    async fn start_on(home: &Path, ports: Ports, settings: Vec<String>) -> Result<Self> {
        let flags = settings.iter().flat_map(|setting| ["--set".to_owned(), setting.clone()]);
        let program = Self::launch(home, &ports).args(flags).start()?;
        let mut embedded = Embedded { program, home: home.to_owned(), ports, settings };
        embedded.until_ready().await?;
        Ok(embedded)
    }

    /// Waits until `GET /ready` of the gateway answers 200.
    async fn until_ready(&mut self) -> Result<()> {
        let gateway = self.gateway()?;
        let program = &mut self.program;
        let ready = eventually("the gateway is ready", async || {
            if program.has_ended()? {
                bail!("sker up ended while it started");
            }
            let ready = gateway.get("/ready").await.is_ok_and(|answer| answer.status.is_success());
            Ok(ready.then_some(()))
        });
        ready.await.with_context(|| self.program.output())
    }

    /// A client of the gateway, not signed in.
    pub fn gateway(&self) -> Result<Api> {
        Api::new(&format!("http://127.0.0.1:{}", self.ports.gateway))
    }

    /// A client of the registry's own HTTP port, without credentials.
    pub fn registry(&self) -> Result<Api> {
        Api::new(&format!("http://127.0.0.1:{}", self.ports.registry.0))
    }

    /// The ports it listens on.
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Where its data are.
    pub fn data_dir(&self) -> PathBuf {
        data_dir(&self.home).into()
    }

    /// Ctrl-C; waits for the end and answers the exit status.
    pub async fn interrupt(&mut self) -> Result<Option<i32>> {
        self.program.signal(Signal::SIGINT)?;
        self.program.wait(PATIENCE).await
    }
}

fn data_dir(home: &Path) -> std::ffi::OsString {
    home.join("data").into_os_string()
}
