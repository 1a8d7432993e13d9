use std::{collections::BTreeMap, time::Duration};

use sker_types::Time;

const HOURS: i64 = 24;

/// How much of an hour a target was up and down; what nobody watched is neither.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Milliseconds up.
    pub up_ms: i64,
    /// Milliseconds down.
    pub down_ms: i64,
}

/// A target's uptime over the last 24 hours, kept by hours since the Unix epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uptime {
    hours: BTreeMap<i64, Share>,
}

impl Uptime {
    /// From hours that were kept.
    pub fn new(hours: impl IntoIterator<Item = (i64, Share)>) -> Self {
        Uptime { hours: hours.into_iter().collect() }
    }

    /// The hour that a time is in.
    pub fn hour(time: Time) -> i64 {
        time.timestamp().div_euclid(3600)
    }

    /// The first hour that still counts.
    pub fn oldest_hour(now: Time) -> i64 {
        Uptime::hour(now) - HOURS
    }

    /// Adds time that has just passed; answers the hour's share. A check's period is short against an hour, so it counts to
    /// the hour in which it ends.
    pub fn add(&mut self, now: Time, passed: Duration, up: bool) -> (i64, Share) {
        let oldest = Uptime::oldest_hour(now);
        self.hours.retain(|hour, _| *hour >= oldest);
        let hour = Uptime::hour(now);
        let share = self.hours.entry(hour).or_default();
        let passed = i64::try_from(passed.as_millis()).unwrap_or(i64::MAX);
        let part = if up { &mut share.up_ms } else { &mut share.down_ms };
        *part = part.saturating_add(passed);
        (hour, *share)
    }

    /// All that was watched in the last 24 hours.
    pub fn total(&self, now: Time) -> Share {
        self.hours.range(Uptime::oldest_hour(now)..).fold(Share::default(), |sum, (_, share)| sum.plus(*share))
    }
}

impl Share {
    /// Both together.
    pub fn plus(self, other: Share) -> Share {
        Share { up_ms: self.up_ms.saturating_add(other.up_ms), down_ms: self.down_ms.saturating_add(other.down_ms) }
    }

    /// How much of the time that was watched it was up; 100 when nothing was watched, since nothing was seen to be down.
    pub fn percentage(self) -> f64 {
        let watched = self.up_ms.saturating_add(self.down_ms);
        if watched <= 0 {
            return 100.0;
        }
        let exact = 100.0 * self.up_ms as f64 / watched as f64;
        // Rounded towards zero: 100 means that it was never down.
        (exact * 1000.0).floor() / 1000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: i64) -> Time {
        sker_types::from_micros(hour * 3_600_000_000)
    }

    #[test]
    fn uptime_is_the_share_of_what_was_watched() {
        let mut uptime = Uptime::default();
        assert_eq!(uptime.total(at(0)).percentage(), 100.0);
        uptime.add(at(0), Duration::from_secs(90), true);
        uptime.add(at(1), Duration::from_secs(10), false);
        assert_eq!(uptime.total(at(1)).percentage(), 90.0);
    }

    #[test]
    fn what_is_older_than_a_day_does_not_count() {
        let mut uptime = Uptime::default();
        uptime.add(at(0), Duration::from_secs(60), false);
        uptime.add(at(20), Duration::from_secs(60), true);
        assert_eq!(uptime.total(at(24)).percentage(), 50.0);
        assert_eq!(uptime.total(at(25)).percentage(), 100.0);
        uptime.add(at(25), Duration::from_secs(60), true);
        assert_eq!(uptime.hours.len(), 2);
    }

    #[test]
    fn a_moment_of_downtime_never_rounds_up_to_a_hundred() {
        let share = Share { up_ms: 86_400_000, down_ms: 1 };
        assert!(share.percentage() < 100.0);
    }
}
