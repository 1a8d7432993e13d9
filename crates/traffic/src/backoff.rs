//! How long to wait before trying again.

use std::time::Duration;

use rand::RngExt;

/// Exponential backoff with jitter, after "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015): the wait grows by
/// `factor` from `base` up to `max`, and a random share of it, up to `jitter`, is taken away, so that many clients that
/// failed together do not all come back together.
///
/// ```
/// # use std::time::Duration;
/// let backoff = sker_traffic::Backoff { jitter: 0.0, ..Default::default() };
/// assert_eq!(backoff.delay(0), Duration::from_millis(100));
/// assert_eq!(backoff.delay(3), Duration::from_millis(800));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// The wait after the first failure.
    pub base: Duration,
    /// The longest wait.
    pub max: Duration,
    /// How much longer each wait is than the one before; less than one counts as one.
    pub factor: f64,
    /// The share of a wait that is left to chance, 0..=1. With 0 all waits are exact, with 1 a wait may be nothing at all.
    pub jitter: f64,
}

impl Default for Backoff {
    /// 100 ms doubling up to 10 s, half of it left to chance.
    fn default() -> Self {
        Backoff { base: Duration::from_millis(100), max: Duration::from_secs(10), factor: 2.0, jitter: 0.5 }
    }
}

impl Backoff {
    /// A backoff that doubles from `base` to `max`, half of it left to chance.
    pub fn new(base: Duration, max: Duration) -> Self {
        Backoff { base, max, ..Self::default() }
    }

    /// The wait before another attempt. `failures` counts the ones before it that had their wait already: 0 after the
    /// first failure.
    pub fn delay(&self, failures: u32) -> Duration {
        self.delay_with(failures, rand::rng().random::<f64>())
    }

    /// [`Self::delay`] with the chance given, 0..=1.
    pub fn delay_with(&self, failures: u32, chance: f64) -> Duration {
        let full = self.ceiling(failures);
        let taken = self.jitter.clamp(0.0, 1.0) * chance.clamp(0.0, 1.0);
        full.mul_f64((1.0 - taken).clamp(0.0, 1.0)).min(full)
    }

    /// The wait before chance takes anything away.
    pub fn ceiling(&self, failures: u32) -> Duration {
        let growth = self.factor.max(1.0).powi(i32::try_from(failures).unwrap_or(i32::MAX));
        // Compared as numbers first: a Duration cannot hold what 2^1000 makes.
        let seconds = self.base.as_secs_f64() * growth;
        if seconds.is_finite() && seconds < self.max.as_secs_f64() {
            Duration::from_secs_f64(seconds)
        } else if self.base.is_zero() {
            Duration::ZERO
        } else {
            self.max
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let backoff = Backoff { base: Duration::from_secs(1), max: Duration::from_secs(5), factor: 2.0, jitter: 0.0 };
        let waits: Vec<u64> = (0..5).map(|failures| backoff.delay(failures).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 5, 5]);
    }

    #[test]
    fn chance_takes_away_no_more_than_its_share() {
        let backoff = Backoff { jitter: 0.5, ..Backoff::default() };
        assert_eq!(backoff.delay_with(0, 0.0), Duration::from_millis(100));
        assert_eq!(backoff.delay_with(0, 1.0), Duration::from_millis(50));
    }

    #[test]
    fn no_base_means_no_wait() {
        let backoff = Backoff { base: Duration::ZERO, ..Backoff::default() };
        assert_eq!(backoff.delay(u32::MAX), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn a_wait_stays_within_its_bounds_and_never_shrinks(
            base_ms in 0_u64..10_000,
            max_ms in 0_u64..1_000_000,
            factor in 0.0_f64..10.0,
            jitter in -1.0_f64..2.0,
            failures: u32,
            chance in 0.0_f64..=1.0,
        ) {
            let backoff =
                Backoff { base: Duration::from_millis(base_ms), max: Duration::from_millis(max_ms), factor, jitter };
            let ceiling = backoff.ceiling(failures);
            prop_assert!(ceiling <= backoff.max);
            prop_assert!(backoff.ceiling(failures.saturating_add(1)) >= ceiling);
            let wait = backoff.delay_with(failures, chance);
            prop_assert!(wait <= ceiling);
            prop_assert!(wait + Duration::from_nanos(2) >= ceiling.mul_f64(1.0 - jitter.clamp(0.0, 1.0)));
        }
    }
}
