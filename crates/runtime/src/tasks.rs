use std::{
    borrow::Cow,
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::FutureExt;
use sker_traffic::Backoff;
use tokio::{sync::watch, task::AbortHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument;

/// A task that ran this long before it failed starts again without the wait that its earlier failures earned.
const SETTLED: Duration = Duration::from_secs(60);

/// How long dropped tasks may take to be gone.
const ABORT_LIMIT: Duration = Duration::from_secs(1);

/// What becomes of a background task that fails. A panic is a failure too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// It is started again, with backoff. When it returns without a fault it is done.
    Restart,
    /// The service cannot go on without it: the service stops, also when the task returns early without a fault.
    StopService,
    /// It runs once; a failure is logged.
    Once,
}

/// What a task may return: nothing, or a result with any error.
pub trait Outcome {
    /// The fault, if there is one.
    fn fault(self) -> Option<anyhow::Error>;
}

impl Outcome for () {
    fn fault(self) -> Option<anyhow::Error> {
        None
    }
}

impl<E: Into<anyhow::Error>> Outcome for Result<(), E> {
    fn fault(self) -> Option<anyhow::Error> {
        self.err().map(Into::into)
    }
}

/// The background tasks of one service. Every loop of a service runs in its set, under a name and with a declared policy.
/// Clones share the set.
#[derive(Clone, Debug)]
pub struct TaskSet {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    token: CancellationToken,
    tracker: TaskTracker,
    /// Never the same twice, so that an abort handle that comes late cannot land on another task.
    next_key: AtomicU64,
    running: Mutex<BTreeMap<u64, Running>>,
    failed: watch::Sender<Option<Arc<str>>>,
}

#[derive(Debug)]
struct Running {
    name: Cow<'static, str>,
    abort: Option<AbortHandle>,
}

impl Default for TaskSet {
    fn default() -> Self {
        TaskSet::new()
    }
}

impl TaskSet {
    /// An empty set.
    pub fn new() -> Self {
        TaskSet {
            shared: Arc::new(Shared {
                token: CancellationToken::new(),
                tracker: TaskTracker::new(),
                next_key: AtomicU64::new(0),
                running: Mutex::new(BTreeMap::new()),
                failed: watch::Sender::new(None),
            }),
        }
    }

    /// Cancelled when the tasks are to end.
    pub fn token(&self) -> CancellationToken {
        self.shared.token.clone()
    }

    /// Starts a task. `start` is called again for every restart; what it makes should end soon after the token is
    /// cancelled. Must be called within a Tokio runtime.
    pub fn spawn<F, Fut>(&self, name: impl Into<Cow<'static, str>>, policy: Policy, start: F)
    where
        F: Fn(CancellationToken) -> Fut + Send + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Outcome,
    {
        let name = name.into();
        let entry = Entry::new(Arc::clone(&self.shared), name.clone());
        let key = entry.key;
        let span = tracing::info_span!("task", task.name = %name);
        let task = async move { entry.shared.supervise(&name, policy, start).await };
        let handle = self.shared.tracker.spawn(task.instrument(span));
        if let Some(running) = self.shared.running().get_mut(&key) {
            running.abort = Some(handle.abort_handle());
        }
    }

    /// Names of the tasks that are running.
    pub fn names(&self) -> Vec<String> {
        self.shared.running().values().map(|task| task.name.to_string()).collect()
    }

    /// Waits until a task fails that the service cannot go on without, and says which and why.
    pub async fn failed(&self) -> String {
        let mut failed = self.shared.failed.subscribe();
        let reason = failed.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        match reason {
            Some(reason) => reason.to_string(),
            // The sender lives in `self`.
            None => std::future::pending().await,
        }
    }

    /// Tells all tasks to end and waits for them, at most `limit`; those that have not ended by then are dropped. Says
    /// whether all ended by themselves.
    pub async fn drain(&self, limit: Duration) -> bool {
        self.shared.token.cancel();
        self.shared.tracker.close();
        if tokio::time::timeout(limit, self.shared.tracker.wait()).await.is_ok() {
            return true;
        }
        let left: Vec<String> = {
            let running = self.shared.running();
            running.values().filter_map(|task| task.abort.as_ref()).for_each(AbortHandle::abort);
            running.values().map(|task| task.name.to_string()).collect()
        };
        tracing::warn!(tasks = left.join(", "), "background tasks did not end in time and were dropped");
        // A task is dropped at its next await; one that never awaits is left to the end of the process.
        let _ = tokio::time::timeout(ABORT_LIMIT, self.shared.tracker.wait()).await;
        left.is_empty()
    }
}

/// A task's place in the list of those that run; it leaves the list when it ends, however it ends.
struct Entry {
    shared: Arc<Shared>,
    key: u64,
}

impl Entry {
    fn new(shared: Arc<Shared>, name: Cow<'static, str>) -> Self {
        let key = shared.next_key.fetch_add(1, Ordering::Relaxed);
        shared.running().insert(key, Running { name, abort: None });
        Entry { shared, key }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.shared.running().remove(&self.key);
    }
}

impl Shared {
    fn running(&self) -> MutexGuard<'_, BTreeMap<u64, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn supervise<F, Fut>(&self, name: &str, policy: Policy, start: F)
    where
        F: Fn(CancellationToken) -> Fut,
        Fut: Future,
        Fut::Output: Outcome,
    {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(30));
        let mut failures = 0;
        loop {
            let began = Instant::now();
            // Making the future may panic as well as running it.
            let made = catch_unwind(AssertUnwindSafe(|| start(self.token.clone())));
            let fault = match made {
                Ok(task) => AssertUnwindSafe(task).catch_unwind().await.map(Outcome::fault),
                Err(panic) => Err(panic),
            }
            .unwrap_or_else(|panic| Some(anyhow::anyhow!("panicked: {}", panic_message(&*panic))));
            if self.token.is_cancelled() {
                if let Some(fault) = fault {
                    tracing::warn!(error = format!("{fault:#}"), "background task {name} failed while it was ending");
                }
                return;
            }
            match (policy, fault) {
                (Policy::Restart | Policy::Once, None) => return,
                (Policy::StopService, fault) => {
                    let reason = fault.map_or_else(|| "it ended early".to_owned(), |fault| format!("{fault:#}"));
                    tracing::error!(error = reason, "background task {name} failed; the service stops");
                    self.failed.send_replace(Some(format!("background task {name}: {reason}").into()));
                    return;
                }
                (Policy::Once, Some(fault)) => {
                    tracing::error!(error = format!("{fault:#}"), "background task {name} failed");
                    return;
                }
                (Policy::Restart, Some(fault)) => {
                    if began.elapsed() >= SETTLED {
                        failures = 0;
                    }
                    let wait = backoff.delay(failures);
                    failures = failures.saturating_add(1);
                    let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                    tracing::error!(
                        error = format!("{fault:#}"),
                        wait_ms,
                        "background task {name} failed; it restarts"
                    );
                    if self.token.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                        return;
                    }
                }
            }
        }
    }
}

/// What a panic says, when it says it in words.
pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
