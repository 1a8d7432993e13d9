use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use futures::stream::{self, Stream};
use sker_error::{Error, Result};
use sker_traffic::Backoff;
use tokio::sync::watch::Receiver;

use super::{
    access::Scope,
    engine::{Engine, Snapshot},
    model::{Event, Instance, ServiceKey, Subject},
};

/// Time between two signs of life on a quiet stream, before jitter.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Events copied out of the ring at a time.
const BATCH: usize = 256;

/// What to follow.
#[derive(Clone, Debug, Default)]
pub struct Interest {
    /// Empty for every group that the caller may read.
    pub groups: Vec<String>,
    /// Only this service.
    pub service: Option<String>,
}

impl Interest {
    fn covers(&self, key: &ServiceKey) -> bool {
        (self.groups.is_empty() || self.groups.iter().any(|group| **group == *key.group))
            && self.service.as_ref().is_none_or(|service| **service == *key.service)
    }
}

/// One step of a followed stream.
#[derive(Clone, Debug)]
pub enum Step {
    /// What was known is void; a snapshot follows up to `Synced`.
    Reset,
    /// An instance is there, or is different now.
    Upserted(Arc<Instance>),
    /// An instance is gone.
    Removed(Arc<Instance>),
    /// The stream has caught up, or is merely alive.
    Synced,
}

/// A step, and where to resume after it. The token is empty within a snapshot, which cannot be resumed halfway.
#[derive(Clone, Debug)]
pub struct Followed {
    /// What happened.
    pub step: Step,
    /// Where to resume.
    pub token: String,
}

/// Follows the instances of a tenant from a token on. A token that is empty, too old, of another run or no token at all
/// begins with `Reset` and a snapshot.
pub fn follow(
    engine: Arc<Engine>,
    scope: Scope,
    interest: Interest,
    token: &str,
) -> impl Stream<Item = Result<Followed>> + Send + 'static + use<> {
    let position = read_token(token).filter(|(boot, _)| *boot == engine.boot()).map(|(_, position)| position);
    let head = engine.ring().subscribe();
    let follower = Follower {
        engine,
        scope,
        interest,
        head,
        position,
        snapshots: HashMap::new(),
        ready: VecDeque::new(),
        owes_synced: true,
    };
    stream::unfold(Some(follower), |follower| async move {
        let mut follower = follower?;
        match follower.next().await {
            Ok(item) => Some((Ok(item), Some(follower))),
            Err(error) => Some((Err(error), None)),
        }
    })
}

struct Follower {
    engine: Arc<Engine>,
    scope: Scope,
    interest: Interest,
    head: Receiver<u64>,
    /// The last revision seen; `None` before a snapshot.
    position: Option<u64>,
    /// Services whose snapshot was newer than `position` when it was taken.
    snapshots: HashMap<Arc<ServiceKey>, u64>,
    ready: VecDeque<Followed>,
    owes_synced: bool,
}

impl Follower {
    async fn next(&mut self) -> Result<Followed> {
        loop {
            if let Some(step) = self.ready.pop_front() {
                return Ok(step);
            }
            if self.engine.closed().is_cancelled() {
                return Err(Error::unavailable("the registry is stopping; resume elsewhere or later"));
            }
            // Mark what there is as seen before looking at it; what comes after wakes `pause`.
            self.head.borrow_and_update();
            let events = self.position.and_then(|position| self.engine.ring().after(position, BATCH));
            match events {
                None => self.begin_with_snapshot(),
                Some(events) if events.is_empty() => {
                    if !self.owes_synced {
                        self.pause().await;
                    }
                    if self.owes_synced {
                        self.owes_synced = false;
                        self.push(Step::Synced);
                    }
                }
                Some(events) => events.iter().for_each(|event| self.take(event)),
            }
        }
    }

    /// Waits for a change. When none comes for a while, a sign of life is due.
    async fn pause(&mut self) {
        let keep_alive = Backoff { jitter: 0.25, ..Backoff::new(KEEP_ALIVE, KEEP_ALIVE) };
        tokio::select! {
            _ = self.head.changed() => {}
            () = self.engine.closed().cancelled() => {}
            () = tokio::time::sleep(keep_alive.delay(0)) => self.owes_synced = true,
        }
    }

    fn begin_with_snapshot(&mut self) {
        // The head first: what changes while the snapshots are read is replayed, and skipped where they have it already.
        let position = self.engine.ring().head();
        self.snapshots.clear();
        self.ready.push_back(Followed { step: Step::Reset, token: String::new() });
        for snapshot in self.covered() {
            if snapshot.revision > position {
                self.snapshots.insert(snapshot.key.clone(), snapshot.revision);
            }
            for instance in &snapshot.instances {
                self.ready.push_back(Followed { step: Step::Upserted(instance.clone()), token: String::new() });
            }
        }
        self.position = Some(position);
        self.owes_synced = true;
        if self.snapshots.is_empty() {
            self.owes_synced = false;
            self.push(Step::Synced);
        }
    }

    fn covered(&self) -> Vec<Arc<Snapshot>> {
        let mut all = self.engine.services(self.scope.tenant());
        all.retain(|snapshot| self.wants(&snapshot.key));
        all
    }

    fn wants(&self, key: &ServiceKey) -> bool {
        &*key.tenant == self.scope.tenant()
            && self.interest.covers(key)
            && self.scope.may_read(&key.group, self.engine.group(&key.group_key()).as_deref())
    }

    fn take(&mut self, event: &Event) {
        self.position = Some(event.revision);
        let Subject::Instance(instance) = &event.subject else { return };
        if !self.wants(&instance.key) {
            return;
        }
        if let Some(seen) = self.snapshots.get(&instance.key)
            && event.revision <= *seen
        {
            return;
        }
        self.push(if event.is_removal() { Step::Removed(instance.clone()) } else { Step::Upserted(instance.clone()) });
    }

    fn push(&mut self, step: Step) {
        let token = self.position.map(|position| write_token(self.engine.boot(), position)).unwrap_or_default();
        self.ready.push_back(Followed { step, token });
    }
}

fn write_token(boot: u64, position: u64) -> String {
    format!("w1-{boot:x}-{position:x}")
}

fn read_token(token: &str) -> Option<(u64, u64)> {
    let (boot, position) = token.strip_prefix("w1-")?.split_once('-')?;
    Some((u64::from_str_radix(boot, 16).ok()?, u64::from_str_radix(position, 16).ok()?))
}
