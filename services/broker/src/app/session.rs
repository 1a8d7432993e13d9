use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context;
use sker_api::{Ctx, Store};
use sker_proto::store::ReleaseTasksRequest;
use sker_traffic::Backoff;
use sker_types::{Uuid, new_id, parse_id};
use tokio_util::sync::CancellationToken;

/// Brokers that may share a data directory.
const MOST_BROKERS: u32 = 256;

/// This run of the broker, as the store knows it, and the runs before it whose claims may still be open.
///
/// The ids stand in a file of the data directory that is locked while the broker runs. After a crash the next broker reads
/// there whose claims to give back, so that they need not wait for their leases to run out; brokers that share a directory
/// never give back each other's.
#[derive(Debug)]
pub struct Session {
    id: Uuid,
    previous: Vec<Uuid>,
    file: Mutex<File>,
}

impl Session {
    /// Begins a run.
    ///
    /// # Errors
    /// The directory or the file cannot be made or written.
    pub fn begin(data_dir: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(data_dir)
            .with_context(|| format!("cannot make the data directory {}", data_dir.display()))?;
        for number in 0..MOST_BROKERS {
            let path = data_dir.join(format!("broker-session-{number}"));
            let mut file = OpenOptions::new()
                .read(true)
                .append(true)
                .create(true)
                .open(&path)
                .with_context(|| format!("cannot open {}", path.display()))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("cannot lock {}", path.display()));
                }
            }
            let mut text = String::new();
            // What cannot be read is no id of ours; those leases run out by themselves.
            let _ = file.read_to_string(&mut text);
            let previous = text.lines().filter_map(parse_id).collect();
            let id = new_id();
            writeln!(file, "\n{id}").with_context(|| format!("cannot write {}", path.display()))?;
            return Ok(Session { id, previous, file: Mutex::new(file) });
        }
        anyhow::bail!("{MOST_BROKERS} brokers use the data directory {}", data_dir.display())
    }

    /// The id of this run.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// The ids of the runs before.
    pub fn previous(&self) -> &[Uuid] {
        &self.previous
    }

    /// Forgets the runs before: their claims are given back.
    fn forget_previous(&self) -> std::io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", self.id)
    }
}

/// Gives back the claims of the runs before this one; tries until the store has taken them.
pub async fn release_previous(store: Arc<dyn Store>, session: Arc<Session>, stop: CancellationToken) {
    let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    for previous in session.previous() {
        let mut failures = 0;
        loop {
            let ctx = Ctx::service("broker").within(Duration::from_secs(10));
            let request = ReleaseTasksRequest { session_id: previous.to_string(), leases: Vec::new() };
            match ctx.bound(store.release_tasks(&ctx, request)).await {
                Ok(answer) => {
                    if answer.released > 0 {
                        tracing::info!(tasks = answer.released, "gave back the tasks of a run before this one");
                    }
                    break;
                }
                Err(error) => {
                    if failures == 0 {
                        tracing::warn!(error = %error, "the tasks of a run before cannot be given back, trying on");
                    }
                    if stop.run_until_cancelled(tokio::time::sleep(backoff.delay(failures))).await.is_none() {
                        return;
                    }
                    failures = failures.saturating_add(1);
                }
            }
        }
    }
    if let Err(error) = session.forget_previous() {
        // Giving the same claims back once more does no harm.
        tracing::warn!(error = %error, "the session file cannot be written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_run_knows_the_one_before_and_a_second_broker_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let first = Session::begin(directory.path()).unwrap();
        assert!(first.previous().is_empty());
        let beside = Session::begin(directory.path()).unwrap();
        assert!(beside.previous().is_empty());
        let id = first.id();
        drop(first);
        let second = Session::begin(directory.path()).unwrap();
        assert_eq!(second.previous(), [id]);
        second.forget_previous().unwrap();
        let id = second.id();
        drop(second);
        assert_eq!(Session::begin(directory.path()).unwrap().previous(), [id]);
    }
}
