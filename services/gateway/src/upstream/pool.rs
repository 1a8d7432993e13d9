//! Connections that wait for their next request. Each thread has a pool of its own, so that taking one needs no lock and its
//! answer wakes no other thread.

use std::{
    cell::RefCell,
    collections::HashMap,
    fmt,
    rc::{Rc, Weak},
    time::{Duration, Instant},
};

use hyper::client::conn::http1::SendRequest;

use super::RequestBody;

/// A connection to an instance.
pub struct Connection {
    /// Where requests go in.
    pub sender: SendRequest<RequestBody>,
    /// Whether it has served a request before, so that the other side may be about to close it.
    pub reused: bool,
}

impl fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Connection").field("reused", &self.reused).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

/// The idle connections of one thread.
#[derive(Debug)]
pub struct Pool {
    idle: RefCell<HashMap<u64, Vec<Idle>>>,
    idle_limit: Duration,
    most_idle: usize,
}

impl Pool {
    /// A pool that keeps a connection for `idle_limit` and at most `most_idle` of them per instance.
    pub fn new(idle_limit: Duration, most_idle: usize) -> Rc<Self> {
        Rc::new(Pool { idle: RefCell::default(), idle_limit, most_idle })
    }

    /// A connection to this instance that seems to be alive. The last one that was used comes first: the others
    /// then grow old enough to be closed.
    pub fn take(&self, key: u64) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        let list = idle.get_mut(&key)?;
        let mut at = list.len();
        while at > 0 {
            at -= 1;
            let one = &list[at];
            if one.connection.sender.is_closed() || one.since.elapsed() >= self.idle_limit {
                list.swap_remove(at);
            } else if one.connection.sender.is_ready() {
                return Some(list.swap_remove(at).connection);
            }
            // Otherwise it has answered early and is still taking in the last request's body.
        }
        None
    }

    /// Closes what has been idle for too long.
    pub fn sweep(&self) {
        self.idle.borrow_mut().retain(|_, list| {
            list.retain(|one| !one.connection.sender.is_closed() && one.since.elapsed() < self.idle_limit);
            !list.is_empty()
        });
    }

    /// How many connections are idle.
    pub fn len(&self) -> usize {
        self.idle.borrow().values().map(Vec::len).sum()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn put(&self, key: u64, sender: SendRequest<RequestBody>) {
        if sender.is_closed() {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        let list = idle.entry(key).or_default();
        if list.len() < self.most_idle {
            list.push(Idle { connection: Connection { sender, reused: true }, since: Instant::now() });
        }
    }
}

/// A connection that goes back to its pool when its answer has been read to the end. Dropped before that, it is closed.
pub struct Returned {
    pool: Weak<Pool>,
    key: u64,
    sender: SendRequest<RequestBody>,
}

impl Returned {
    pub(super) fn new(pool: &Rc<Pool>, key: u64, connection: Connection) -> Self {
        Returned { pool: Rc::downgrade(pool), key, sender: connection.sender }
    }

    pub(super) fn give_back(self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.put(self.key, self.sender);
        }
    }
}

impl fmt::Debug for Returned {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Returned").field("key", &self.key).finish_non_exhaustive()
    }
}
