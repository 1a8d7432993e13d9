//! The platform that is measured.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use sker_client::http::Platform;
use sker_testkit::{Distributed, Outside, Plan, Ports, PostgresServer, RabbitServer, RedisServer};

use super::PATIENCE;

/// A running platform; killed when dropped.
pub enum Target {
    Embedded(Embedded),
    Distributed(Box<Programs>),
}

pub struct Embedded {
    child: Child,
    gateway: String,
}

/// The programs before the servers that they use.
pub struct Programs {
    platform: Distributed,
    postgres: PostgresServer,
    redis: RedisServer,
    rabbit: RabbitServer,
}

impl Target {
    /// `sker up`, ready.
    pub async fn embedded(program: &Path, data: &Path) -> Result<Target> {
        let ports = Ports::free()?;
        let mut command = Command::new(program);
        command.arg("up").arg("--data-dir").arg(data).args(ports.arguments());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().with_context(|| {
            format!("cannot start {}; build it with `cargo build --release -p sker`", program.display())
        })?;
        let embedded = Embedded { child, gateway: format!("http://127.0.0.1:{}", ports.gateway) };
        embedded.wait_until_ready().await?;
        Ok(Target::Embedded(embedded))
    }

    /// The five programs, ready, on servers of their own.
    pub async fn distributed(home: &Path, gateways: usize, brokers: usize) -> Result<Target> {
        if std::env::var_os("SKER_BIN_DIR").is_none() {
            bail!("set SKER_BIN_DIR to where the programs are, for example target/release");
        }
        let (postgres, redis, rabbit) =
            tokio::try_join!(PostgresServer::start(), RedisServer::start(), RabbitServer::start())?;
        let outside = Outside::shared().postgres(&postgres).redis(&redis).rabbitmq(&rabbit);
        let plan = Plan::default().gateways(gateways).brokers(brokers);
        let platform = Distributed::start(home, outside, plan).await?;
        Ok(Target::Distributed(Box::new(Programs { platform, postgres, redis, rabbit })))
    }

    /// The URLs of its gateways.
    pub fn gateways(&self) -> Result<Vec<String>> {
        match self {
            Target::Embedded(embedded) => Ok(vec![embedded.gateway.clone()]),
            Target::Distributed(programs) => {
                Ok(programs.platform.gateways.iter().map(|gateway| gateway.url()).collect())
            }
        }
    }

    /// What each process has resident. Those of PostgreSQL share most of what they have, so only its first is shown.
    pub fn print_memory(&mut self) -> Result<()> {
        for (name, pid) in self.processes()? {
            println!("  {name:<18}{:>9.1} MiB", resident_mib(pid)?);
        }
        Ok(())
    }

    /// The processor time that each process has used, its children included.
    pub fn cpu_seconds(&mut self) -> Result<Vec<(String, f64)>> {
        self.processes()?.into_iter().map(|(name, pid)| Ok((name, cpu_seconds(pid)?))).collect()
    }

    fn processes(&mut self) -> Result<Vec<(String, u32)>> {
        match self {
            Target::Embedded(embedded) => Ok(vec![("sker up".to_owned(), embedded.child.id())]),
            Target::Distributed(programs) => {
                let mut processes = Vec::new();
                for service in programs.platform.services() {
                    let label = service.label();
                    processes.push((label, service.program()?.pid()?));
                }
                processes.push(("PostgreSQL".to_owned(), programs.postgres.pid()));
                processes.push(("Redis".to_owned(), programs.redis.pid()));
                processes.push(("RabbitMQ".to_owned(), programs.rabbit.pid()));
                Ok(processes)
            }
        }
    }
}

impl Embedded {
    async fn wait_until_ready(&self) -> Result<()> {
        let platform = Platform::new(&self.gateway)?;
        let deadline = Instant::now() + PATIENCE;
        while platform.get("/ready").await.is_err() || platform.get("/api/v1/auth/me").await.is_err_and(is_no_route) {
            if Instant::now() > deadline {
                bail!("the platform did not become ready");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        // A bench that ends early leaves nothing running; the process may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ready means that the store's routes are there too: 401 is an answer, 503 is none.
fn is_no_route(error: sker_error::Error) -> bool {
    error.is_retryable()
}

fn resident_mib(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("VmRSS in /proc")?;
    let kib: f64 = line.split_whitespace().nth(1).context("a number")?.parse()?;
    Ok(kib / 1024.0)
}

/// User and system time of a process and of its children, those that ended included (proc_pid_stat(5)).
fn cpu_seconds(pid: u32) -> Result<f64> {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in brackets, may hold anything.
    let fields: Vec<&str> = stat.rsplit(')').next().context("fields")?.split_whitespace().collect();
    let ticks: f64 = fields.get(11..15).context("times")?.iter().map(|field| field.parse().unwrap_or(0.0)).sum();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|child| child.parse().ok());
    Ok(ticks / TICKS_PER_SECOND + children.map(|child| cpu_seconds(child).unwrap_or(0.0)).sum::<f64>())
}
