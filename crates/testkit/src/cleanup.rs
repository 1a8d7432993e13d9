use std::thread;

use anyhow::Result;

/// Runs a clean-up to its end from `Drop`, where nothing can be awaited: on a thread with a runtime of its own. What fails
/// is printed, because a test that has passed must not fail for it, and a test that failed has its own message.
pub(crate) fn run(what: &str, work: impl Future<Output = Result<()>> + Send) {
    let outcome = thread::scope(|scope| {
        let thread = scope.spawn(|| tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work));
        thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("it panicked")))
    });
    if let Err(error) = outcome {
        eprintln!("cannot {what}: {error:#}");
    }
}
