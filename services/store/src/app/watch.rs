//! Which leases have run out. Pure: rows and instants in, verdicts out.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use sker_types::{Time, Uuid};

use crate::store::tasks::Held;

/// Remembers when each (task, epoch, renewals) was first seen, on this process's monotonic clock: clocks of brokers, and
/// jumps of our own, do not matter.
///
/// While the database cannot be read nobody renews and nobody is seen to: such time counts against no lease.
#[derive(Debug)]
pub(super) struct LeaseWatch {
    seen: HashMap<Uuid, Seen>,
    last: Option<Instant>,
    /// A look that comes later than that after the one before may have missed renewals.
    late: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    epoch: i64,
    renewals: i64,
    renewed: Instant,
    began: Instant,
    /// How long it had been running when it was first seen, for example before a restart of the store.
    before: Duration,
}

/// What is to be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdicts {
    /// Not renewed for a whole lease.
    pub(super) lost: Vec<Held>,
    /// Running for longer than they may.
    pub(super) timed_out: Vec<Held>,
}

impl LeaseWatch {
    pub(super) fn new(late: Duration) -> Self {
        LeaseWatch { seen: HashMap::new(), last: None, late }
    }

    /// Looks at everything that is under a lease now. What is not among it any more is forgotten.
    pub(super) fn observe(&mut self, held: Vec<Held>, now: Instant, wall: Time) -> Verdicts {
        let mut seen = HashMap::with_capacity(held.len());
        let mut verdicts = Verdicts::default();
        let is_late = self.last.replace(now).is_some_and(|last| now.saturating_duration_since(last) > self.late);
        for task in held {
            let first = || Seen {
                epoch: task.epoch,
                renewals: task.renewals,
                renewed: now,
                began: now,
                before: task.started_at.and_then(|at| (wall - at).to_std().ok()).unwrap_or_default(),
            };
            let entry = match self.seen.get(&task.id) {
                Some(entry) if entry.epoch == task.epoch => match entry.renewals == task.renewals && !is_late {
                    true => *entry,
                    false => Seen { renewals: task.renewals, renewed: now, ..*entry },
                },
                _ => first(),
            };
            seen.insert(task.id, entry);
            let running = entry.before + now.saturating_duration_since(entry.began);
            if running >= millis(task.timeout_ms) {
                verdicts.timed_out.push(task);
            } else if now.saturating_duration_since(entry.renewed) >= millis(task.lease_ms) {
                verdicts.lost.push(task);
            }
        }
        self.seen = seen;
        verdicts
    }
}

fn millis(value: i64) -> Duration {
    Duration::from_millis(u64::try_from(value).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use sker_types::{new_id, now};

    use super::*;

    const LEASE: Duration = Duration::from_secs(15);

    fn watch() -> LeaseWatch {
        LeaseWatch::new(LEASE * 10)
    }

    fn task() -> Held {
        Held { id: new_id(), epoch: 1, renewals: 0, lease_ms: 15_000, timeout_ms: 60_000, started_at: Some(now()) }
    }

    #[test]
    fn a_lease_that_is_renewed_is_never_lost() {
        let (mut watch, start, mut task) = (watch(), Instant::now(), task());
        let wall = task.started_at.unwrap();
        for round in 0..3 {
            let seen = watch.observe(vec![task.clone()], start + LEASE * round, wall);
            assert_eq!(seen, Verdicts::default());
            task.renewals += 1;
        }
    }

    #[test]
    fn a_lease_is_lost_when_nothing_has_moved_for_all_of_it() {
        let (mut watch, start, task) = (watch(), Instant::now(), task());
        let wall = task.started_at.unwrap();
        assert_eq!(watch.observe(vec![task.clone()], start, wall), Verdicts::default());
        let almost = start + LEASE - Duration::from_millis(1);
        assert_eq!(watch.observe(vec![task.clone()], almost, wall), Verdicts::default());
        assert_eq!(watch.observe(vec![task.clone()], start + LEASE, wall).lost, std::slice::from_ref(&task));
        let taken = Held { epoch: 2, ..task };
        assert_eq!(watch.observe(vec![taken], start + LEASE * 2, wall), Verdicts::default());
    }

    #[test]
    fn time_in_which_nobody_could_look_counts_against_no_lease() {
        let (mut watch, start, task) = (LeaseWatch::new(LEASE / 5), Instant::now(), task());
        let wall = task.started_at.unwrap();
        assert_eq!(watch.observe(vec![task.clone()], start, wall), Verdicts::default());
        let back = start + LEASE * 2;
        assert_eq!(watch.observe(vec![task.clone()], back, wall), Verdicts::default());
        for look in 1..10 {
            assert_eq!(watch.observe(vec![task.clone()], back + LEASE / 10 * look, wall), Verdicts::default());
        }
        assert_eq!(watch.observe(vec![task.clone()], back + LEASE, wall).lost, [task]);
    }

    #[test]
    fn a_task_times_out_however_often_its_lease_is_renewed() {
        let (mut watch, start, mut task) = (watch(), Instant::now(), task());
        let wall = task.started_at.unwrap();
        for _ in 0..6 {
            watch.observe(vec![task.clone()], start, wall);
            task.renewals += 1;
        }
        let seen = watch.observe(vec![task.clone()], start + Duration::from_secs(60), wall);
        assert_eq!((seen.timed_out, seen.lost), (vec![task], vec![]));
    }

    #[test]
    fn what_ran_before_a_restart_counts_towards_the_timeout() {
        let task = task();
        let wall = task.started_at.unwrap() + Duration::from_secs(61);
        let seen = watch().observe(vec![task.clone()], Instant::now(), wall);
        assert_eq!(seen.timed_out, [task]);
    }

    #[test]
    fn a_clock_that_was_set_back_times_nothing_out() {
        let task = task();
        let wall = task.started_at.unwrap() - Duration::from_secs(3_600);
        let seen = watch().observe(vec![task], Instant::now(), wall);
        assert_eq!(seen, Verdicts::default());
    }
}
