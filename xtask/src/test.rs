//! `cargo xtask test`: every test of the workspace, with the servers they share.
//!
//! PostgreSQL, MariaDB, Redis and RabbitMQ are started in temporary directories on free ports and ended with the run, however
//! it ends. A server whose variable (`SKER_TEST_POSTGRES_URL`, ...) is set already is used as it is.

use std::{
    env,
    io::Write as _,
    process::{ExitCode, ExitStatus},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use sker_testkit::{MariaDbServer, PostgresServer, RabbitServer, RedisServer, Shared, Signal, signal_group};
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
};

/// How long cargo and the tests may take to end after a signal.
const END_LIMIT: Duration = Duration::from_secs(10);

/// How to test.
#[derive(clap::Args)]
pub struct Options {
    /// What is passed to `cargo test`, after `--`.
    #[arg(last = true)]
    arguments: Vec<String>,
}

pub fn run(options: Options) -> Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        tokio::select! {
            outcome = test(&options.arguments) => outcome,
            code = interrupted() => code,
        }
    })
}

async fn test(arguments: &[String]) -> Result<ExitCode> {
    let servers = Servers::start().await?;
    let jobs = env::var("CARGO_BUILD_JOBS").unwrap_or_else(|_| "2".to_owned());
    // The end-to-end tests run the real programs, which `cargo test` alone does not build.
    let build = ["build", "--locked", "--workspace", "--bins", "-j", &jobs];
    let status = cargo(&build, &[], &servers).await?;
    if !status.success() {
        return Ok(exit_code(status));
    }
    let mut test = vec!["test", "--locked", "--no-fail-fast", "-j", &jobs];
    // Beside which cargo takes no notice of `-p`.
    if !names_packages(arguments) {
        test.push("--workspace");
    }
    Ok(exit_code(cargo(&test, arguments, &servers).await?))
}

/// Whether `cargo test` is told which packages are meant.
fn names_packages(arguments: &[String]) -> bool {
    let mut own = arguments.iter().take_while(|argument| *argument != "--");
    own.any(|argument| argument.starts_with("-p") || argument.starts_with("--package"))
}

/// The servers of a run, ended when this is dropped, and the variables that lead to them.
#[derive(Default)]
struct Servers {
    #[expect(dead_code, reason = "ended when dropped")]
    running: (Option<PostgresServer>, Option<MariaDbServer>, Option<RedisServer>, Option<RabbitServer>),
    variables: Vec<(&'static str, String)>,
}

impl Servers {
    async fn start() -> Result<Self> {
        let (postgres, mariadb, redis, rabbitmq) = tokio::try_join!(
            start("PostgreSQL", &[Shared::Postgres], PostgresServer::start_fast()),
            start("MariaDB", &[Shared::MariaDb], MariaDbServer::start_fast()),
            start("Redis", &[Shared::Redis], RedisServer::start_volatile()),
            start("RabbitMQ", &[Shared::RabbitMq, Shared::RabbitMqManagement], RabbitServer::start()),
        )?;
        let urls = [
            (Shared::Postgres, postgres.as_ref().map(PostgresServer::url)),
            (Shared::MariaDb, mariadb.as_ref().map(MariaDbServer::url)),
            (Shared::Redis, redis.as_ref().map(RedisServer::url)),
            (Shared::RabbitMq, rabbitmq.as_ref().map(RabbitServer::url)),
            (Shared::RabbitMqManagement, rabbitmq.as_ref().map(RabbitServer::management_url)),
        ];
        let variables = urls.into_iter().filter_map(|(server, url)| Some((server.variable(), url?))).collect();
        Ok(Servers { running: (postgres, mariadb, redis, rabbitmq), variables })
    }
}

/// Starts a server unless the caller names one.
async fn start<S>(name: &str, shared: &[Shared], server: impl Future<Output = Result<S>>) -> Result<Option<S>> {
    if let Ok(urls) = shared.iter().map(|shared| shared.url()).collect::<Result<Vec<_>>>() {
        eprintln!("{name}: {}, as {} says", urls.join(", "), shared[0].variable());
        return Ok(None);
    }
    let began = Instant::now();
    let server = server.await.with_context(|| format!("cannot start {name}"))?;
    eprintln!("{name}: started in {:.1} s", began.elapsed().as_secs_f64());
    Ok(Some(server))
}

/// Runs cargo, in a process group of its own so that its tests can be ended with it.
async fn cargo(fixed: &[&str], arguments: &[String], servers: &Servers) -> Result<ExitStatus> {
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(fixed).args(arguments).envs(servers.variables.iter().map(|(name, url)| (name, url)));
    eprintln!("cargo {} {}", fixed.join(" "), arguments.join(" "));
    let child = command.stdin(std::process::Stdio::null()).process_group(0).spawn().context("cannot start cargo")?;
    let mut group = Group { child, ended: false };
    group.wait().await
}

/// cargo and what it has started; all of it is ended when this is dropped before cargo is.
struct Group {
    child: Child,
    ended: bool,
}

impl Group {
    async fn wait(&mut self) -> Result<ExitStatus> {
        let status = self.child.wait().await?;
        self.ended = true;
        Ok(status)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let Some(pid) = self.child.id().filter(|_| !self.ended) else { return };
        // Tests that hear SIGTERM stop what they have started; what does not end then is killed.
        let began = Instant::now();
        let mut signal = Signal::SIGTERM;
        while signal_group(pid, signal).is_ok() && !matches!(self.child.try_wait(), Ok(Some(_))) {
            std::thread::sleep(Duration::from_millis(50));
            if began.elapsed() > END_LIMIT {
                signal = Signal::SIGKILL;
            }
        }
        let _ = signal_group(pid, Signal::SIGKILL);
    }
}

fn exit_code(status: ExitStatus) -> ExitCode {
    status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// Waits for a signal that ends programs; answers what a shell would say of it (128 and its number).
async fn interrupted() -> Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let number = tokio::select! {
        _ = interrupt.recv() => 2,
        _ = terminate.recv() => 15,
        _ = hang_up.recv() => 1,
    };
    // Whoever reads may be gone by the same signal.
    let _ = writeln!(std::io::stderr(), "interrupted; ending the tests and their servers");
    Ok(ExitCode::from(128 + number))
}
