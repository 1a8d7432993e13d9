//! Where a reader of a channel stands, and what the next live event means to it.

/// What to do with a live event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The reader has it already.
    Duplicate,
    /// It follows on the last one.
    Next,
    /// Others may stand between: the log has to be read.
    Gap,
}

/// The last sequence number that a reader of a channel has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor(u64);

impl Cursor {
    /// A reader that has seen everything up to `seq`.
    pub fn at(seq: u64) -> Self {
        Cursor(seq)
    }

    /// The last number seen.
    pub fn last(self) -> u64 {
        self.0
    }

    /// What a live event means. Numbers may skip (a restart of the log begins a new range), so a gap is a question
    /// to the log and not yet a loss.
    pub fn step(self, seq: u64) -> Step {
        if seq <= self.0 {
            Step::Duplicate
        } else if seq == self.0 + 1 {
            Step::Next
        } else {
            Step::Gap
        }
    }

    /// Moves on to an event that was handed over; never back.
    pub fn advance(&mut self, seq: u64) {
        self.0 = self.0.max(seq);
    }

    /// Goes to `seq`, also back: the reader was told to begin anew there.
    pub fn reset(&mut self, seq: u64) {
        self.0 = seq;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Live events come in any order, some twice, some never; the log has them all.
        #[test]
        fn a_reader_sees_every_event_once_and_in_order(
            live in proptest::collection::vec(1_u64..40, 1..120),
            start in 0_u64..10,
        ) {
            let mut cursor = Cursor::at(start);
            let mut seen = Vec::new();
            for seq in live {
                match cursor.step(seq) {
                    Step::Duplicate => {}
                    Step::Next => { seen.push(seq); cursor.advance(seq); }
                    Step::Gap => for missed in cursor.last() + 1..=seq { seen.push(missed); cursor.advance(missed); }
                }
            }
            let expected: Vec<u64> = (start + 1..=cursor.last()).collect();
            prop_assert_eq!(seen, expected);
        }
    }
}
