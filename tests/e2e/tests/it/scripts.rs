//! scripts/start-microservices.sh and scripts/stop-microservices.sh, run as a reader of the README would.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, Permissions},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use sker_testkit::{Api, bin_dir, eventually, free_port};
use tempfile::TempDir;
use tokio::process::Command;

/// How long a script may take: it starts three servers and seven programs.
const LIMIT: Duration = Duration::from_secs(300);

/// What the ports of a single instance are called; replicas are ten further on.
const PORTS: [&str; 7] = [
    "STORE_PORT",
    "STORE_GRPC_PORT",
    "REGISTRY_HTTP_PORT",
    "REGISTRY_GRPC_PORT",
    "DATABASE_SERVICE_PORT",
    "DATABASE_SERVICE_GRPC_PORT",
    "BROKER_GRPC_PORT",
];

/// A data directory and free ports. What was started in it is stopped when this is dropped, and also when the test is killed.
struct Machine {
    data_dir: PathBuf,
    ports: BTreeMap<String, u16>,
    guard: Child,
    home: TempDir,
}

/// How a script ended.
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Machine {
    fn new() -> Result<Self> {
        // PostgreSQL runs as somebody else when the tests run as root, and has to get in.
        let home = tempfile::Builder::new().permissions(Permissions::from_mode(0o755)).tempdir_in("/tmp")?;
        let mut ports = BTreeMap::new();
        for name in PORTS {
            ports.insert(name.to_owned(), free_port()?);
        }
        for name in ["GATEWAY_PORT", "BROKER_PORT"] {
            ports.insert(name.to_owned(), two_free_ports()?);
        }
        Ok(Machine { data_dir: home.path().join("data"), ports, guard: guard(home.path())?, home })
    }

    fn command(&self, script: &str) -> Result<Command> {
        let mut command = Command::new(script_path(script));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.home.path()).env("SKER_BIN_DIR", bin_dir()?);
        command.envs(self.ports.iter().map(|(name, port)| (name, port.to_string())));
        command.arg("--data-dir").arg(&self.data_dir).kill_on_drop(true);
        Ok(command)
    }

    async fn start(&self, arguments: &[&str]) -> Result<Ended> {
        let mut command = self.command("start-microservices.sh")?;
        command.arg("--local").args(arguments);
        run(command).await
    }

    async fn stop(&self, arguments: &[&str]) -> Result<Ended> {
        let mut command = self.command("stop-microservices.sh")?;
        command.args(arguments);
        run(command).await
    }

    fn gateway(&self, replica: u16) -> Result<Api> {
        Api::new(&format!("http://127.0.0.1:{}", self.ports["GATEWAY_PORT"] + 10 * (replica - 1)))
    }

    /// The process ids of everything that was started, by name.
    fn processes(&self) -> Result<BTreeMap<String, String>> {
        let mut processes = BTreeMap::new();
        for file in fs::read_dir(self.data_dir.join("run"))? {
            let path = file?.path();
            if path.extension().is_some_and(|extension| extension == "pid") {
                let name = path.file_stem().context("a name")?.to_string_lossy().into_owned();
                processes.insert(name, fs::read_to_string(&path)?);
            }
        }
        Ok(processes)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Closes the pipe, and waits until everything is stopped.
        if let Err(error) = self.guard.wait() {
            eprintln!("cannot stop what was started: {error}");
        }
    }
}

/// A process that stops what was started and removes `home` when the pipe that it reads from is closed, be it because the
/// test was killed. In a process group of its own, so that it is not killed with the test.
fn guard(home: &Path) -> Result<Child> {
    let work = r#"read -r _; "$1" --data-dir "$2/data"; rm -rf -- "$2""#;
    let mut command = std::process::Command::new("/bin/sh");
    command.args(["-c", work, "sh"]).arg(script_path("stop-microservices.sh")).arg(home);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    command.spawn().context("cannot start /bin/sh")
}

impl Ended {
    fn expect(self, code: i32) -> Result<Self> {
        ensure!(self.code == Some(code), "{:?} instead of {code}:\n{}\n{}", self.code, self.stdout, self.stderr);
        Ok(self)
    }
}

async fn run(mut command: Command) -> Result<Ended> {
    // To files: what the script leaves running must not keep a pipe open.
    let (stdout, stderr) = (tempfile::NamedTempFile::new()?, tempfile::NamedTempFile::new()?);
    command.stdout(stdout.reopen()?).stderr(stderr.reopen()?);
    let mut child = command.spawn()?;
    let status = tokio::time::timeout(LIMIT, child.wait()).await.context("the script does not end")??;
    let read = |file: &Path| fs::read_to_string(file);
    Ok(Ended { code: status.code(), stdout: read(stdout.path())?, stderr: read(stderr.path())? })
}

fn script_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts").join(name)
}

/// A port that is free together with the one ten further on; no other test gets either of them.
fn two_free_ports() -> Result<u16> {
    let mut ours = BTreeSet::new();
    for _ in 0..1_000 {
        let port = free_port()?;
        if ours.contains(&(port - 10)) {
            return Ok(port - 10);
        }
        ours.insert(port);
    }
    anyhow::bail!("no two free ports")
}

#[tokio::test]
async fn the_platform_starts_on_servers_of_its_own_and_its_data_survives_a_stop() -> Result<()> {
    let machine = Machine::new()?;
    let started = machine.start(&["--gateways", "2", "--brokers", "2"]).await?.expect(0)?;
    ensure!(started.stdout.contains("The platform is ready."), "{}", started.stdout);
    let password = machine.data_dir.join("admin-password");
    ensure!(started.stdout.contains(&password.display().to_string()), "{}", started.stdout);

    // A task submitted at one gateway is done, and the other one knows.
    let user = machine.gateway(2)?.sign_up().await?;
    let project = user.create_project("Bees").await?;
    let node = user.create_node(&project, "Dances", "Bees dance to tell where flowers are.").await?;
    let task = user.analyse(&project, &node).await?;
    let other = machine.gateway(1)?.with_token(user.token().context("signed in")?);
    other.completed(&task).await?;

    // The database-service watches the very servers that were started.
    let admin = machine.gateway(1)?.log_in("admin@sker.local", fs::read_to_string(&password)?.trim()).await?;
    eventually("all three servers are healthy", async || {
        let body = admin.get("/api/database/metrics").await?.expect(200)?.body;
        Ok((body["healthy_databases"] == 3).then_some(()))
    })
    .await?;

    // Nobody else may read what is secret.
    for file in fs::read_dir(machine.data_dir.join("secrets"))?.chain(fs::read_dir(&machine.data_dir)?) {
        let metadata = file?.metadata()?;
        ensure!(metadata.permissions().mode() & 0o077 == 0, "{metadata:?}");
    }

    // Once more changes nothing; a replica that is gone is started again, alone.
    let before = machine.processes()?;
    machine.start(&["--gateways", "2", "--brokers", "2"]).await?.expect(0)?;
    ensure!(machine.processes()? == before, "{before:?}");
    let gateway = before["gateway-2"].split(' ').next().context("a process id")?.parse()?;
    sker_testkit::signal_group(gateway, sker_testkit::Signal::SIGKILL)?;
    machine.start(&["--gateways", "2", "--brokers", "2"]).await?.expect(0)?;
    let mut after = machine.processes()?;
    ensure!(after["gateway-2"] != before["gateway-2"], "{after:?}");
    after.insert("gateway-2".to_owned(), before["gateway-2"].clone());
    ensure!(after == before, "{after:?} {before:?}");

    let stopped = machine.stop(&["--services-only"]).await?.expect(0)?;
    ensure!(
        stopped.stdout.contains("stopped store") && !stopped.stdout.contains("stopped redis"),
        "{}",
        stopped.stdout
    );
    machine.stop(&[]).await?.expect(0)?;
    let again = machine.stop(&[]).await?.expect(0)?;
    ensure!(again.stdout.trim() == "all is stopped", "{}", again.stdout);
    ensure!(machine.processes()?.is_empty());
    ensure!(machine.gateway(1)?.get("/health").await.is_err(), "nobody listens any more");

    machine.start(&[]).await?.expect(0)?;
    let user = machine.gateway(1)?.with_token(user.token().context("signed in")?);
    user.completed(&task).await?;
    machine.stop(&[]).await?.expect(0)?;
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_started_says_why_and_starts_nothing() -> Result<()> {
    let machine = Machine::new()?;
    let mut contained = machine.command("start-microservices.sh")?;
    contained.args(["--gateways", "2", "--data-dir", "somewhere"]);
    let refused = run(contained).await?.expect(64)?;
    ensure!(refused.stderr.contains("need --local"), "{}", refused.stderr);
    for wrong in [&["--gateways", "0"][..], &["--brokers", "x"], &["--data-dir"], &["--what"], &["--build"]] {
        machine.start(wrong).await?.expect(64)?;
    }
    let help = machine.start(&["--help"]).await?.expect(0)?;
    ensure!(help.stdout.contains("usage:") && help.stdout.contains("--brokers N"), "{}", help.stdout);

    let port = machine.ports["STORE_PORT"];
    let _taken = std::net::TcpListener::bind(("127.0.0.1", port))?;
    let refused = machine.start(&[]).await?.expect(1)?;
    let message = format!("port {port} is in use, and store needs it");
    ensure!(refused.stderr.contains(&message) && refused.stderr.contains("STORE_PORT"), "{}", refused.stderr);
    ensure!(machine.processes()?.is_empty());
    Ok(())
}
