//! A server of the system as a child process in a directory of its own.

use std::{
    env,
    ffi::OsStr,
    fs::{self, File, OpenOptions, Permissions},
    io::{Read, Seek, SeekFrom},
    os::unix::{
        fs::{PermissionsExt, chown, fchown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::{Pid, User, geteuid},
};
use tempfile::TempDir;

/// How often a server is asked whether it is ready.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long a server may take until it is ready.
const START_LIMIT: Duration = Duration::from_secs(120);
/// A port that was free may be taken by the time a server binds it.
const START_ATTEMPTS: usize = 3;

/// Whom a server runs as: somebody else than root, for those that refuse root.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    uid: u32,
    gid: u32,
}

impl Account {
    /// For servers that refuse to run as root: the first of these users that exists. `None` when the caller is not root
    /// and is good enough himself.
    pub(crate) fn other_than_root(names: &[&str]) -> Result<Option<Account>> {
        if !geteuid().is_root() {
            return Ok(None);
        }
        for name in names.iter().chain(&["nobody"]) {
            if let Some(user) = User::from_name(name).context("cannot read the users of this system")? {
                return Ok(Some(Account { uid: user.uid.as_raw(), gid: user.gid.as_raw() }));
            }
        }
        bail!("there is none of the users {names:?} nor nobody to run a server as, and it refuses root")
    }
}

/// The directory of a server: temporary, owned by the account it runs as.
pub(crate) struct Home {
    directory: TempDir,
    account: Option<Account>,
}

impl Home {
    pub(crate) fn new(name: &str, account: Option<Account>) -> Result<Self> {
        let parent = traversable(env::temp_dir());
        let directory = tempfile::Builder::new()
            .prefix(&format!("sker-{name}-"))
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(&parent)
            .with_context(|| format!("cannot make a directory in {}", parent.display()))?;
        if let Some(Account { uid, gid }) = account {
            chown(directory.path(), Some(uid), Some(gid)).context("cannot give a directory away")?;
        }
        Ok(Home { directory, account })
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A file or directory in it.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.join("log")
    }

    /// A command that runs in this directory, as its owner, with an environment of its own and with its output in the log.
    pub(crate) fn command(&self, program: &Path) -> Result<Command> {
        let log = OpenOptions::new().create(true).append(true).open(self.log())?;
        if let Some(Account { uid, gid }) = self.account {
            // Some open what they are given once more.
            fchown(&log, Some(uid), Some(gid))?;
        }
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path())
            .env("TMPDIR", self.path())
            .env("LC_ALL", "C")
            .current_dir(self.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        if let Some(Account { uid, gid }) = self.account {
            command.uid(uid).gid(gid);
        }
        Ok(command)
    }

    /// Runs a command that ends by itself; an error with its output unless it succeeds. The calling thread waits.
    pub(crate) fn run(&self, mut command: Command) -> Result<()> {
        let status = command.status().with_context(|| format!("cannot start {}", name_of(&command)))?;
        if !status.success() {
            bail!("{} failed ({status}):\n{}", name_of(&command), self.output());
        }
        Ok(())
    }

    /// The end of what the server wrote.
    pub(crate) fn output(&self) -> String {
        tail(&self.log()).unwrap_or_else(|error| format!("(no output: {error})"))
    }
}

/// `directory`, or /tmp when other users cannot get into it.
fn traversable(directory: PathBuf) -> PathBuf {
    let open = |path: &Path| fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o001 != 0);
    if directory.ancestors().all(open) { directory } else { PathBuf::from("/tmp") }
}

fn tail(path: &Path) -> Result<String> {
    const LENGTH: u64 = 4_000;
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LENGTH)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn name_of(command: &Command) -> String {
    Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Finds a program: in `directories` first, where a `*` stands for any name (the highest is taken), then on the `PATH`.
pub(crate) fn find(name: &str, directories: &[&str], package: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = directories.iter().flat_map(|directory| expand(directory)).collect();
    places.extend(env::split_paths(&path));
    places.extend(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    let found = places.into_iter().map(|place| place.join(name)).find(|file| file.is_file());
    found.with_context(|| format!("{name} was not found; on Debian and Ubuntu it is in the package {package}"))
}

fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else { return vec![pattern.into()] };
    let entries = fs::read_dir(before).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
    names.sort_by_key(|name| name.to_string_lossy().parse::<u32>().unwrap_or(0));
    let after = after.trim_start_matches('/');
    names.into_iter().rev().map(|name| Path::new(before).join(name).join(after)).collect()
}

/// A running server process in a process group of its own. Ended when dropped, and also when this process ends in a way in
/// which nothing is dropped.
pub(crate) struct Daemon {
    name: String,
    child: Child,
    guard: Child,
    farewell: Signal,
}

impl Daemon {
    /// Starts it. `farewell` ends it at once, with every process of its own.
    pub(crate) fn start(home: &Home, mut command: Command, farewell: Signal) -> Result<Self> {
        let name = name_of(&command);
        let mut child = command.process_group(0).spawn().with_context(|| format!("cannot start {name}"))?;
        match guard(child.id(), farewell, home.path()) {
            Ok(guard) => Ok(Daemon { name, child, guard, farewell }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// `kill -9` of it and of its children, whatever process groups they are in; waits until it is gone.
    pub(crate) fn kill(&mut self) -> Result<()> {
        // While it stands still it neither makes children nor mourns those it has.
        let pid = Pid::from_raw(i32::try_from(self.pid())?);
        self.dismiss_guard()?;
        if !self.has_ended()? {
            kill(pid, Signal::SIGSTOP).with_context(|| format!("cannot stop {}", self.name))?;
            for child in children(self.pid()) {
                // It may have ended already.
                let _ = kill(child, Signal::SIGKILL);
            }
            self.child.kill().with_context(|| format!("cannot kill {}", self.name))?;
        }
        self.child.wait()?;
        Ok(())
    }

    /// First of all, lest it ends another process that has got the same id.
    fn dismiss_guard(&mut self) -> Result<()> {
        self.guard.kill()?;
        self.guard.wait()?;
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        self.dismiss_guard()?;
        if !self.has_ended()? {
            killpg(Pid::from_raw(i32::try_from(self.pid())?), self.farewell)?;
            self.child.wait()?;
        }
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("cannot end {}: {error:#}", self.name);
        }
    }
}

/// A process that ends the process group `server` and removes its directory when this process ends, however it does: then
/// the pipe that the guard reads from is closed. In a process group of its own, so that Ctrl-C does not reach it before its
/// work is done.
fn guard(server: u32, farewell: Signal, home: &Path) -> Result<Child> {
    let signal = farewell.as_str().trim_start_matches("SIG");
    let mut command = Command::new("/bin/sh");
    command.args(["-c", r#"read -r _; kill -s "$1" -- "-$2"; sleep 1; rm -rf -- "$3""#, "sh", signal]);
    command.arg(server.to_string()).arg(home);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    command.spawn().context("cannot start /bin/sh")
}

/// The children of a process, where /proc says so (proc_pid_stat(5)).
fn children(parent: u32) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_string_lossy().parse::<i32>().ok());
    pids.filter(|pid| parent_of(*pid) == Some(parent)).map(Pid::from_raw).collect()
}

fn parent_of(pid: i32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; after it come the state and the parent.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// Waits until `ready` answers true; an error with the server's output when it ends before.
pub(crate) async fn until_ready(daemon: &mut Daemon, home: &Home, mut ready: impl AsyncFnMut() -> bool) -> Result<()> {
    let name = daemon.name.clone();
    let wait = async {
        while !ready().await {
            if daemon.has_ended()? {
                bail!("{name} ended while it started");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    };
    let waited = tokio::time::timeout(START_LIMIT, wait).await;
    waited.with_context(|| format!("{name} did not become ready")).flatten().with_context(|| home.output())
}

/// Starts a server on free ports, on others when those were taken in between.
pub(crate) async fn start_somewhere<S>(mut start: impl AsyncFnMut() -> Result<S>) -> Result<S> {
    let mut attempts = 1;
    loop {
        match start().await {
            Err(_) if attempts < START_ATTEMPTS => attempts += 1,
            outcome => return outcome,
        }
    }
}

/// Runs something that blocks for seconds (initialising a data directory) beside the runtime.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}

/// An argument `--name=value` where the value is a path.
pub(crate) fn option(name: &str, value: impl AsRef<OsStr>) -> std::ffi::OsString {
    let mut argument = std::ffi::OsString::from(name);
    argument.push("=");
    argument.push(value);
    argument
}
