//! Strategies that pick one of several instances.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Takes each position of a list in turn. Many threads may pick from the same one.
///
/// It keeps no list of its own: when the list grows or shrinks the turn goes on from where it was.
#[derive(Debug, Default)]
pub struct RoundRobin {
    next: AtomicUsize,
}

impl RoundRobin {
    /// Begins at the first position.
    pub const fn new() -> Self {
        RoundRobin { next: AtomicUsize::new(0) }
    }

    #[cfg(test)]
    const fn starting_at(position: usize) -> Self {
        RoundRobin { next: AtomicUsize::new(position) }
    }

    /// The next position in a list of `length`; `None` when the list is empty.
    ///
    /// ```
    /// let turn = sker_traffic::RoundRobin::new();
    /// assert_eq!([turn.pick(2), turn.pick(2), turn.pick(2)], [Some(0), Some(1), Some(0)]);
    /// ```
    pub fn pick(&self, length: usize) -> Option<usize> {
        if length == 0 {
            return None;
        }
        Some(self.next.fetch_add(1, Ordering::Relaxed) % length)
    }

    /// The next position that `usable` accepts, looking at each at most once; `None` when it accepts none.
    pub fn pick_where(&self, length: usize, mut usable: impl FnMut(usize) -> bool) -> Option<usize> {
        let first = self.pick(length)?;
        (0..length).map(|step| (first + step) % length).find(|position| usable(*position))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_empty_list_has_nothing_to_pick() {
        assert_eq!(RoundRobin::new().pick(0), None);
        assert_eq!(RoundRobin::new().pick_where(0, |_| true), None);
        assert_eq!(RoundRobin::new().pick_where(3, |_| false), None);
    }

    #[test]
    fn a_turn_that_wraps_around_still_picks() {
        let turn = RoundRobin::starting_at(usize::MAX);
        assert!(turn.pick(3).is_some_and(|position| position < 3));
        assert_eq!(turn.pick(3), Some(0));
    }

    #[test]
    fn threads_that_pick_together_share_the_load_equally() {
        let turn = RoundRobin::new();
        let counts: Vec<AtomicUsize> = (0..4).map(|_| AtomicUsize::new(0)).collect();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        let position = turn.pick(4).expect("the list is not empty");
                        counts[position].fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        let counts: Vec<usize> = counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        assert_eq!(counts, [2000; 4]);
    }

    proptest! {
        #[test]
        fn every_position_gets_its_share(start: usize, length in 1_usize..40, rounds in 1_usize..8) {
            let turn = RoundRobin::starting_at(start % 1_000_000);
            let mut counts = vec![0; length];
            for _ in 0..length * rounds {
                counts[turn.pick(length).unwrap()] += 1;
            }
            prop_assert!(counts.iter().all(|count| *count == rounds), "{counts:?}");
        }

        #[test]
        fn only_usable_positions_are_picked(usable in proptest::collection::vec(any::<bool>(), 0..20), picks in 1..50) {
            let turn = RoundRobin::new();
            for _ in 0..picks {
                match turn.pick_where(usable.len(), |position| usable[position]) {
                    Some(position) => prop_assert!(usable[position]),
                    None => prop_assert!(usable.iter().all(|usable| !usable)),
                }
            }
        }
    }
}
