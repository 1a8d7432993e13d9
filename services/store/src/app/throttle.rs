//! Slows down guessing: failed sign-ins per account and per address.

use std::time::{Duration, Instant};

use dashmap::DashMap;
use sker_error::{Code, Error, Result};

/// How many failures are too many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub per_account: u32,
    pub per_address: u32,
    pub window: Duration,
}

/// Beyond so many entries those whose window is over are thrown out.
const TIDY_ABOVE: usize = 10_000;

/// Counts failures in windows that begin with the first of them. In this process: N replicas allow N times as much.
pub(super) struct Throttle {
    limits: Limits,
    failures: DashMap<String, Window>,
}

#[derive(Clone, Copy)]
struct Window {
    began: Instant,
    failures: u32,
}

impl Throttle {
    pub(super) fn new(limits: Limits) -> Self {
        Throttle { limits, failures: DashMap::new() }
    }

    /// Counts an attempt as failed before its outcome is known, so that many at once are no way around the limit.
    /// `rate_limited` when the account or the address has failed too often; whether the account exists makes no difference.
    pub(super) fn begin(&self, account: &str, address: &str) -> Result<()> {
        let now = Instant::now();
        self.check_at(account, address, now)?;
        self.fail_at(account, address, now);
        Ok(())
    }

    /// The account's owner is there: what failed before no longer counts against it. Against the address only this attempt
    /// does not.
    pub(super) fn succeed(&self, account: &str, address: &str) {
        self.failures.remove(&account_key(account));
        if let Some(mut window) = self.failures.get_mut(&address_key(address)) {
            window.failures = window.failures.saturating_sub(1);
        }
    }

    fn check_at(&self, account: &str, address: &str, now: Instant) -> Result<()> {
        let limits = [(account_key(account), self.limits.per_account), (address_key(address), self.limits.per_address)];
        let left = limits.into_iter().filter_map(|(key, limit)| {
            let window = *self.failures.get(&key)?;
            let left = self.limits.window.saturating_sub(now.saturating_duration_since(window.began));
            (window.failures >= limit && !left.is_zero()).then_some(left)
        });
        match left.max() {
            None => Ok(()),
            Some(left) => Err(Error::new(Code::RateLimited, "too many failed sign-ins; try again later")
                .with_retry_after_ms(u64::try_from(left.as_millis()).unwrap_or(u64::MAX))),
        }
    }

    fn fail_at(&self, account: &str, address: &str, now: Instant) {
        if self.failures.len() > TIDY_ABOVE {
            self.failures.retain(|_, window| now.saturating_duration_since(window.began) < self.limits.window);
        }
        for key in [account_key(account), address_key(address)] {
            let mut window = self.failures.entry(key).or_insert(Window { began: now, failures: 0 });
            if now.saturating_duration_since(window.began) >= self.limits.window {
                *window = Window { began: now, failures: 0 };
            }
            window.failures = window.failures.saturating_add(1);
        }
    }
}

fn account_key(account: &str) -> String {
    // Nobody's name is longer; a guesser's may be.
    let end = account.char_indices().nth(320).map_or(account.len(), |(end, _)| end);
    format!("account:{}", &account[..end])
}

fn address_key(address: &str) -> String {
    format!("address:{address}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn throttle() -> Throttle {
        Throttle::new(Limits { per_account: 3, per_address: 5, window: MINUTE })
    }

    #[test]
    fn an_account_is_closed_after_too_many_failures_and_open_again_later() {
        let (throttle, now) = (throttle(), Instant::now());
        for address in ["1", "2", "3"] {
            throttle.check_at("ann", address, now).unwrap();
            throttle.fail_at("ann", address, now);
        }
        let error = throttle.check_at("ann", "4", now + MINUTE / 2).unwrap_err();
        assert_eq!((error.code(), error.retry_after_ms()), (Code::RateLimited, Some(30_000)));
        throttle.check_at("bob", "1", now).unwrap();
        throttle.check_at("ann", "4", now + MINUTE).unwrap();
    }

    #[test]
    fn an_address_is_closed_whatever_accounts_it_tries() {
        let (throttle, now) = (throttle(), Instant::now());
        for account in ["a", "b", "c", "d", "e"] {
            throttle.check_at(account, "1", now).unwrap();
            throttle.fail_at(account, "1", now);
        }
        assert!(throttle.check_at("f", "1", now).is_err());
        throttle.check_at("f", "2", now).unwrap();
    }

    #[test]
    fn a_success_forgives_the_account() {
        let (throttle, now) = (throttle(), Instant::now());
        for _ in 0..3 {
            throttle.fail_at("ann", "1", now);
        }
        throttle.succeed("ann", "1");
        throttle.check_at("ann", "1", now).unwrap();
    }
}
