use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use sker_types::Time;

/// Where time comes from. Tests bring their own.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds on a clock that never goes back. Its start means nothing.
    fn monotonic_ms(&self) -> u64;
    /// The time of day, for what people read.
    fn now(&self) -> Time;
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose monotonic side starts now.
    pub fn new() -> Self {
        SystemClock { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock::new()
    }
}

impl Clock for SystemClock {
    fn monotonic_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn now(&self) -> Time {
        sker_types::now()
    }
}

/// Keeps the lease clock positive when it is set back before it has run for long.
const ORIGIN_MS: u64 = 1 << 40;

/// The clock by which leases run out. It stands still while this process itself does, so that a pause of ours (a stopped
/// container, a starved machine) evicts nobody (nacos#8090).
pub struct LeaseClock {
    clock: Arc<dyn Clock>,
    forgiven_ms: AtomicU64,
}

impl LeaseClock {
    /// A lease clock on top of a monotonic one.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        LeaseClock { clock, forgiven_ms: AtomicU64::new(0) }
    }

    /// Now, in milliseconds.
    pub fn now_ms(&self) -> u64 {
        let forgiven = self.forgiven_ms.load(Ordering::Relaxed);
        ORIGIN_MS.saturating_add(self.clock.monotonic_ms()).saturating_sub(forgiven)
    }

    /// Sets the clock back by a time in which nobody's heartbeat could have been heard.
    pub fn forgive(&self, ms: u64) {
        self.forgiven_ms.fetch_add(ms, Ordering::Relaxed);
    }
}
