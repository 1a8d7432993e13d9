use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

const FIRST_PAUSE_MS: u64 = 200;
const LONGEST_PAUSE_MS: u64 = 2_000;

/// Keeps callers from waiting, one after the other, for a server that does not answer. After a failure everybody is refused
/// at once for a pause; then one caller tries, and its outcome ends the pause or begins a longer one.
#[derive(Debug)]
pub(super) struct Circuit {
    began: Instant,
    /// How long a try may take; one that never reports back is given up after that.
    patience_ms: u64,
    /// When the next try may be made, in milliseconds since `began`; 0 while all is well.
    next_try: AtomicU64,
    pause_ms: AtomicU64,
}

/// The leave to send a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    /// All is well.
    Free,
    /// The one try after a pause.
    Try,
}

impl Circuit {
    pub(super) fn new(patience: Duration) -> Self {
        Circuit {
            began: Instant::now(),
            patience_ms: patience.as_millis() as u64,
            next_try: AtomicU64::new(0),
            pause_ms: AtomicU64::new(FIRST_PAUSE_MS),
        }
    }

    /// The leave to send, or how long there is none.
    pub(super) fn enter(&self) -> Result<Pass, Duration> {
        self.enter_at(self.now())
    }

    /// The server has answered, whatever the answer. Says whether it had been away.
    pub(super) fn answered(&self) -> bool {
        self.pause_ms.store(FIRST_PAUSE_MS, Ordering::Relaxed);
        self.next_try.load(Ordering::Relaxed) != 0 && self.next_try.swap(0, Ordering::Relaxed) != 0
    }

    /// The server cannot be reached. Says whether that is news.
    pub(super) fn failed(&self, pass: Pass) -> bool {
        self.failed_at(pass, self.now())
    }

    fn enter_at(&self, now: u64) -> Result<Pass, Duration> {
        let next_try = self.next_try.load(Ordering::Relaxed);
        if next_try == 0 {
            return Ok(Pass::Free);
        }
        let given_up = now + self.patience_ms;
        if now >= next_try
            && self.next_try.compare_exchange(next_try, given_up, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            return Ok(Pass::Try);
        }
        Err(Duration::from_millis(next_try.saturating_sub(now).max(1)))
    }

    fn failed_at(&self, pass: Pass, now: u64) -> bool {
        match pass {
            // Those that were under way together fail together: the first of them speaks for all.
            Pass::Free => {
                self.next_try.compare_exchange(0, now + FIRST_PAUSE_MS, Ordering::Relaxed, Ordering::Relaxed).is_ok()
            }
            Pass::Try => {
                let pause = (self.pause_ms.load(Ordering::Relaxed) * 2).min(LONGEST_PAUSE_MS);
                self.pause_ms.store(pause, Ordering::Relaxed);
                self.next_try.store(now + pause, Ordering::Relaxed);
                false
            }
        }
    }

    /// Never 0, which means that all is well.
    fn now(&self) -> u64 {
        self.began.elapsed().as_millis() as u64 + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circuit() -> Circuit {
        Circuit::new(Duration::from_secs(2))
    }

    #[test]
    fn after_a_failure_everybody_is_refused_until_one_has_tried() {
        let circuit = circuit();
        assert_eq!(circuit.enter_at(1), Ok(Pass::Free));
        assert!(circuit.failed_at(Pass::Free, 1_000));
        assert!(!circuit.failed_at(Pass::Free, 1_001), "the second is no news");
        assert_eq!(circuit.enter_at(1_050), Err(Duration::from_millis(150)));
        assert_eq!(circuit.enter_at(1_200), Ok(Pass::Try));
        assert!(circuit.enter_at(1_201).is_err(), "one tries at a time");
        assert!(circuit.answered(), "it is back");
        assert_eq!(circuit.enter_at(1_300), Ok(Pass::Free));
        assert!(!circuit.answered(), "and that is no news");
    }

    #[test]
    fn pauses_grow_up_to_two_seconds_and_begin_anew() {
        let circuit = circuit();
        let mut now = 1;
        circuit.failed_at(Pass::Free, now);
        let mut pauses = Vec::new();
        for _ in 0..6 {
            let pause = circuit.enter_at(now).unwrap_err();
            pauses.push(pause.as_millis());
            now += pause.as_millis() as u64;
            assert_eq!(circuit.enter_at(now), Ok(Pass::Try));
            circuit.failed_at(Pass::Try, now);
        }
        assert_eq!(pauses, [200, 400, 800, 1_600, 2_000, 2_000]);
        circuit.answered();
        circuit.failed_at(Pass::Free, now);
        assert_eq!(circuit.enter_at(now), Err(Duration::from_millis(200)));
    }

    #[test]
    fn a_try_that_never_reports_back_is_given_up() {
        let circuit = circuit();
        circuit.failed_at(Pass::Free, 1);
        assert_eq!(circuit.enter_at(500), Ok(Pass::Try));
        assert!(circuit.enter_at(2_499).is_err());
        assert_eq!(circuit.enter_at(2_500), Ok(Pass::Try));
    }
}
