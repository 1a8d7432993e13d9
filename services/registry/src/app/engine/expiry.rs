use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{Engine, Snapshot, Writer, snapshot::Cell};
use crate::app::model::{Cause, EventKind, Instance};

/// When leases run out, beyond what each instance says itself.
#[derive(Clone, Debug)]
pub struct ExpiryRules {
    /// Time between two scans, before jitter.
    pub scan_interval: Duration,
    /// A scan that comes this much late means that we were stopped, not the clients.
    pub stall_after: Duration,
    /// What every lease is given after such a stall, on top of the stall itself.
    pub grace: Duration,
    /// How long a service may stay protected. Without a limit a steady loss would keep the dead for ever (eureka#1073).
    pub protection_limit: Duration,
    /// How long a service of which nothing is left is remembered, for its revision.
    pub forget_after: Duration,
}

impl Default for ExpiryRules {
    fn default() -> Self {
        ExpiryRules {
            scan_interval: Duration::from_secs(1),
            stall_after: Duration::from_secs(3),
            grace: Duration::from_secs(5),
            protection_limit: Duration::from_secs(600),
            forget_after: Duration::from_secs(300),
        }
    }
}

/// At most so many instances change under one hold of the writer's lock.
const BATCH: usize = 4096;

/// What time has done to a lease.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Keep,
    MarkUnhealthy,
    MarkHealthy,
    Evict,
}

impl Engine {
    /// Looks at every lease once: past its timeout an instance is unhealthy, and past its eviction time, at a later scan,
    /// gone.
    pub fn scan(&self) {
        self.forgive_own_stall();
        let cells: Vec<Arc<Cell>> = self.services.iter().map(|cell| cell.value().clone()).collect();
        let mut forgettable = Vec::new();
        for cell in cells {
            let snapshot = cell.snapshot.load_full();
            if !snapshot.is_visible() {
                forgettable.push(cell);
                continue;
            }
            while self.has_work(&cell) && self.expire_some(&cell) == BATCH {}
        }
        self.forget(&forgettable);
    }

    fn forgive_own_stall(&self) {
        let now = self.clock.monotonic_ms();
        let last = self.last_scan_ms.swap(now.max(1), Ordering::Relaxed);
        let gap = now.saturating_sub(last);
        let expected = millis(self.rules.scan_interval);
        if last != 0 && gap > expected + millis(self.rules.stall_after) {
            self.lease_clock.forgive(gap - expected + millis(self.rules.grace));
            // Heartbeats that were heard since the pause went by the clock as it was before.
            let now = self.lease_clock.now_ms();
            self.instances.iter().for_each(|instance| instance.lease.not_after(now));
            self.counters.stalls.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(stall.ms = gap, "this process was stopped; no lease runs out because of it");
        }
    }

    /// A look without the lock, which is all that most scans need.
    fn has_work(&self, cell: &Cell) -> bool {
        let snapshot = cell.snapshot.load();
        let now = self.lease_clock.now_ms();
        snapshot.protected || snapshot.instances.iter().any(|instance| verdict(instance, now) != Verdict::Keep)
    }

    fn expire_some(&self, cell: &Arc<Cell>) -> usize {
        let mut writer = self.writer();
        let snapshot = cell.snapshot.load_full();
        let now = self.lease_clock.now_ms();
        let protected = self.is_protected(cell, &snapshot, now);
        let mut evicted = Vec::new();
        let mut marked = Vec::new();
        for instance in &snapshot.instances {
            match verdict(instance, now) {
                Verdict::Keep => {}
                Verdict::MarkHealthy => marked.push(Instance { expired: false, ..instance.next() }),
                Verdict::MarkUnhealthy if !protected => marked.push(Instance { expired: true, ..instance.next() }),
                // A heartbeat may have come while we looked; it wins.
                Verdict::Evict if !protected && instance.lease.end_if_older(now, evict_ms(instance)) => {
                    evicted.push(instance.clone());
                }
                Verdict::MarkUnhealthy | Verdict::Evict => {}
            }
            if evicted.len() + marked.len() == BATCH {
                break;
            }
        }
        let count = evicted.len() + marked.len();
        self.apply(&mut writer, &snapshot, protected, marked, &evicted);
        self.counters.expirations.fetch_add(evicted.len() as u64, Ordering::Relaxed);
        count
    }

    fn apply(
        &self,
        writer: &mut Writer,
        snapshot: &Snapshot,
        protected: bool,
        marked: Vec<Instance>,
        evicted: &[Arc<Instance>],
    ) {
        if protected != snapshot.protected {
            let cause = Cause::registry("share of live leases against the protection threshold");
            self.change(writer, &snapshot.key, &cause, |draft| draft.protect(protected));
        }
        if !marked.is_empty() {
            let cause = Cause::registry("state of the lease");
            self.change(writer, &snapshot.key, &cause, |draft| {
                for instance in marked {
                    draft.put(instance, EventKind::InstanceHealthChanged);
                }
            });
        }
        if !evicted.is_empty() {
            let cause = Cause::registry("the lease ran out: contact was lost");
            self.change(writer, &snapshot.key, &cause, |draft| draft.remove(evicted, EventKind::InstanceExpired));
        }
    }

    /// Whether so many leases have run out at once that the fault is more likely in between than in the instances.
    fn is_protected(&self, cell: &Cell, snapshot: &Snapshot, now_ms: u64) -> bool {
        let threshold = snapshot.entry.as_ref().map_or(0.0, |entry| entry.protection_threshold);
        let leased = snapshot.instances.iter().filter(|instance| instance.spec.ephemeral);
        let (mut total, mut live) = (0_u32, 0_u32);
        for instance in leased {
            total += 1;
            live += u32::from(instance.lease.age_ms(now_ms) <= timeout_ms(instance));
        }
        let endangered = total > 0 && f64::from(live) < threshold * f64::from(total);
        if !endangered {
            cell.protected_since_ms.store(0, Ordering::Relaxed);
            cell.protection_spent.store(false, Ordering::Relaxed);
            return false;
        }
        let since = match cell.protected_since_ms.load(Ordering::Relaxed) {
            0 => now_ms,
            since => since,
        };
        cell.protected_since_ms.store(since, Ordering::Relaxed);
        if now_ms.saturating_sub(since) > millis(self.rules.protection_limit) {
            cell.protection_spent.store(true, Ordering::Relaxed);
        }
        !cell.protection_spent.load(Ordering::Relaxed)
    }

    /// Forgets services of which nothing is left. Whoever asks for one later gets a revision that is not smaller.
    fn forget(&self, candidates: &[Arc<Cell>]) {
        let now = self.lease_clock.now_ms();
        let due = |cell: &Cell| {
            now.saturating_sub(cell.empty_since_ms.load(Ordering::Relaxed)) > millis(self.rules.forget_after)
        };
        if !candidates.iter().any(|cell| due(cell)) {
            return;
        }
        let writer = self.writer();
        self.floor.store(writer.revision, Ordering::Release);
        for cell in candidates.iter().filter(|cell| due(cell)) {
            let snapshot = cell.snapshot.load();
            if !snapshot.is_visible() {
                self.services.remove(&snapshot.key);
            }
        }
    }
}

fn verdict(instance: &Instance, now_ms: u64) -> Verdict {
    if !instance.spec.ephemeral {
        return if instance.expired { Verdict::MarkHealthy } else { Verdict::Keep };
    }
    let age = instance.lease.age_ms(now_ms);
    match instance.expired {
        false if age > timeout_ms(instance) => Verdict::MarkUnhealthy,
        true if age > evict_ms(instance) => Verdict::Evict,
        true if age <= timeout_ms(instance) => Verdict::MarkHealthy,
        _ => Verdict::Keep,
    }
}

fn timeout_ms(instance: &Instance) -> u64 {
    u64::from(instance.spec.heartbeat_timeout_seconds) * 1000
}

fn evict_ms(instance: &Instance) -> u64 {
    u64::from(instance.spec.evict_after_seconds) * 1000
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
