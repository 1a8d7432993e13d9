use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use nix::{
    sys::signal::{kill, killpg},
    unistd::Pid,
};
use tokio::process::{Child, Command};

/// What can be sent to a program.
pub use nix::sys::signal::Signal;

/// How often a running program's memory is looked at.
const SAMPLE_EVERY: Duration = Duration::from_millis(20);

/// Where the built programs are: `SKER_BIN_DIR`, or else the directory above that of the running test.
pub fn bin_dir() -> Result<PathBuf> {
    if let Some(directory) = env::var_os("SKER_BIN_DIR") {
        // Absolute, since a program is started in a directory of its own.
        return std::path::absolute(directory).context("SKER_BIN_DIR is no path");
    }
    let test = env::current_exe().context("the running test has no path")?;
    let directory = test.parent().and_then(Path::parent);
    Ok(directory.ok_or_else(|| anyhow!("{} is not in a target directory", test.display()))?.to_owned())
}

/// Sends a signal to every process of a process group.
pub fn signal_group(group: u32, signal: Signal) -> Result<()> {
    killpg(Pid::from_raw(i32::try_from(group)?), signal).with_context(|| format!("cannot send {signal}"))
}

/// A program about to be started, in an environment of its own: of the caller's variables it gets only `PATH`, so that no
/// setting of the developer's machine changes a test.
pub struct Launch {
    name: String,
    home: PathBuf,
    arguments: Vec<OsString>,
    variables: Vec<(String, String)>,
}

impl Launch {
    /// A program of this workspace, or of the system when `name` is an absolute path. `home` is its home directory, its
    /// directory for temporary files and where its output is kept.
    pub fn new(name: &str, home: impl Into<PathBuf>) -> Self {
        Launch { name: name.to_owned(), home: home.into(), arguments: Vec::new(), variables: Vec::new() }
    }

    /// Adds arguments.
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it.
    pub fn start(self) -> Result<Program> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let path = bin_dir()?.join(&self.name);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let stdout = self.home.join(format!("{name}-{number}.stdout"));
        let stderr = self.home.join(format!("{name}-{number}.stderr"));
        let child = Command::new(&path)
            .args(self.arguments)
            .env_clear()
            .env("PATH", env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.home)
            .env("TMPDIR", &self.home)
            .env("RUST_BACKTRACE", "1")
            .envs(self.variables)
            .current_dir(&self.home)
            .stdin(Stdio::null())
            .stdout(File::create(&stdout)?)
            .stderr(File::create(&stderr)?)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| {
                format!("cannot start {}; build it first (cargo build --workspace --bins)", path.display())
            })?;
        Ok(Program { name, child, stdout, stderr, peak_memory: 0 })
    }

    /// Starts it and waits until it ends; killed when it takes longer than `deadline`.
    pub async fn run(self, deadline: Duration) -> Result<Finished> {
        let mut program = self.start()?;
        let code = program.wait(deadline).await?;
        Ok(Finished {
            code,
            stdout: program.stdout()?,
            stderr: program.stderr()?,
            peak_memory: program.peak_memory_bytes(),
        })
    }
}

/// A program that ran to its end.
#[derive(Debug)]
pub struct Finished {
    /// The exit status; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
    /// The most memory it had resident, in bytes, as far as was seen.
    pub peak_memory: u64,
}

/// A running program. Killed when dropped.
pub struct Program {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
    peak_memory: u64,
}

impl Program {
    /// Its process id; an error once it has ended.
    pub fn pid(&self) -> Result<u32> {
        self.child.id().ok_or_else(|| anyhow!("{} has ended", self.name))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.pid()?)?;
        kill(Pid::from_raw(pid), signal).with_context(|| format!("cannot send {signal} to {}", self.name))
    }

    /// `kill -9`, and waits until it is gone.
    pub async fn kill(&mut self) -> Result<()> {
        self.child.kill().await.with_context(|| format!("cannot kill {}", self.name))
    }

    /// Waits until it ends by itself; the exit status is `None` when a signal ended it. Killed, and an error, when it
    /// takes longer than `deadline`.
    pub async fn wait(&mut self, deadline: Duration) -> Result<Option<i32>> {
        let waited = tokio::time::timeout(deadline, async {
            loop {
                self.peak_memory = self.peak_memory.max(self.sample_memory());
                tokio::select! {
                    status = self.child.wait() => return status,
                    () = tokio::time::sleep(SAMPLE_EVERY) => {}
                }
            }
        })
        .await;
        match waited {
            Ok(status) => Ok(status?.code()),
            Err(_) => {
                self.kill().await?;
                Err(anyhow!("{} did not end within {deadline:?}\n{}", self.name, self.output()))
            }
        }
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// What it wrote to standard output so far.
    pub fn stdout(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(&self.stdout)?).into_owned())
    }

    /// What it wrote to standard error so far.
    pub fn stderr(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(&self.stderr)?).into_owned())
    }

    /// The end of what it wrote, for the message of a failed test.
    pub fn output(&self) -> String {
        let tail = |text: Result<String>| {
            let text = text.unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            lines[lines.len().saturating_sub(40)..].join("\n")
        };
        format!("--- stdout\n{}\n--- stderr\n{}", tail(self.stdout()), tail(self.stderr()))
    }

    /// The most memory it had resident, in bytes, as far as was seen: while it runs, until now; else until shortly before
    /// its end.
    pub fn peak_memory_bytes(&self) -> u64 {
        self.peak_memory.max(self.sample_memory())
    }

    /// `VmHWM` of /proc/PID/status (proc_pid_status(5)); 0 where there is none.
    fn sample_memory(&self) -> u64 {
        let Some(pid) = self.child.id() else { return 0 };
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = line.and_then(|line| line.trim().strip_suffix("kB")).and_then(|kb| kb.trim().parse().ok());
        kibibytes.unwrap_or(0u64) * 1024
    }
}
