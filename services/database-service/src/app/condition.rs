use sker_types::Time;

/// How a target is, as far as its checks tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Not checked yet.
    Unknown,
    /// Its last check succeeded.
    Healthy,
    /// It was healthy and fails, not often enough yet to call it down.
    Suspect,
    /// It failed often enough, and has not succeeded often enough since.
    Down,
}

impl Condition {
    /// The name it is stored under.
    pub fn as_str(self) -> &'static str {
        match self {
            Condition::Unknown => "unknown",
            Condition::Healthy => "healthy",
            Condition::Suspect => "suspect",
            Condition::Down => "down",
        }
    }

    /// The condition of that name.
    pub fn parse(name: &str) -> Option<Condition> {
        [Condition::Unknown, Condition::Healthy, Condition::Suspect, Condition::Down]
            .into_iter()
            .find(|condition| condition.as_str() == name)
    }
}

/// How many checks in a row decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Failures that make a target down.
    pub failures: u32,
    /// Successes that make a target that is down healthy again.
    pub successes: u32,
}

/// Follows one target's checks. A single failure or success between others changes little, so that alerts do not flap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracker {
    /// How the target is.
    pub condition: Condition,
    /// Since when it is so.
    pub since: Time,
    /// When the first of the failures was that it has not recovered from.
    pub failing_since: Option<Time>,
    /// Failures in a row.
    pub failures: u32,
    /// Successes in a row.
    pub successes: u32,
}

impl Tracker {
    /// A target that was not checked yet.
    pub fn new(now: Time) -> Self {
        Tracker { condition: Condition::Unknown, since: now, failing_since: None, failures: 0, successes: 0 }
    }

    /// Takes in a check's result. Answers the condition there was before, when it is another one now.
    pub fn observe(&mut self, succeeded: bool, now: Time, thresholds: Thresholds) -> Option<Condition> {
        let next = if succeeded { self.succeed(thresholds) } else { self.fail(now, thresholds) };
        let before = self.condition;
        if next == before {
            return None;
        }
        self.condition = next;
        self.since = now;
        if next == Condition::Healthy {
            self.failing_since = None;
        }
        Some(before)
    }

    fn succeed(&mut self, thresholds: Thresholds) -> Condition {
        self.failures = 0;
        self.successes = self.successes.saturating_add(1);
        match self.condition {
            Condition::Down if self.successes < thresholds.successes => Condition::Down,
            _ => Condition::Healthy,
        }
    }

    fn fail(&mut self, now: Time, thresholds: Thresholds) -> Condition {
        self.successes = 0;
        self.failures = self.failures.saturating_add(1);
        self.failing_since.get_or_insert(now);
        match self.condition {
            Condition::Down => Condition::Down,
            _ if self.failures >= thresholds.failures => Condition::Down,
            _ => Condition::Suspect,
        }
    }

    /// Whether it is to be checked more often than usual.
    pub fn needs_close_watch(&self) -> bool {
        matches!(self.condition, Condition::Suspect | Condition::Down)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLDS: Thresholds = Thresholds { failures: 3, successes: 2 };

    fn at(second: i64) -> Time {
        sker_types::from_micros(second * 1_000_000)
    }

    fn run(results: &[bool]) -> (Tracker, Vec<Condition>) {
        let mut tracker = Tracker::new(at(0));
        let mut conditions = Vec::new();
        for (second, succeeded) in (1..).zip(results) {
            tracker.observe(*succeeded, at(second), THRESHOLDS);
            conditions.push(tracker.condition);
        }
        (tracker, conditions)
    }

    #[test]
    fn it_takes_several_failures_to_be_down_and_several_successes_to_be_up_again() {
        use Condition::{Down, Healthy, Suspect};
        let (_, conditions) = run(&[true, false, false, false, false, true, false, true, true, true]);
        assert_eq!(conditions, [Healthy, Suspect, Suspect, Down, Down, Down, Down, Down, Healthy, Healthy]);
    }

    #[test]
    fn one_failure_between_successes_is_never_down() {
        let (tracker, conditions) = run(&[true, false, true, false, true, false]);
        assert!(!conditions.contains(&Condition::Down));
        assert_eq!((tracker.condition, tracker.failing_since), (Condition::Suspect, Some(at(6))));
    }

    #[test]
    fn an_incident_began_with_its_first_failure() {
        let (tracker, _) = run(&[true, false, false, false, true, false]);
        assert_eq!((tracker.since, tracker.failing_since), (at(4), Some(at(2))));
        let (tracker, _) = run(&[true, false, false, false, true, true]);
        assert_eq!((tracker.condition, tracker.since, tracker.failing_since), (Condition::Healthy, at(6), None));
    }

    #[test]
    fn a_target_that_never_worked_is_suspect_first() {
        use Condition::{Down, Suspect};
        assert_eq!(run(&[false, false, false]).1, [Suspect, Suspect, Down]);
    }
}
