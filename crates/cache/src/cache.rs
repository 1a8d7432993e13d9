use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use sker_error::{Error, Result};

/// Values that may be forgotten at any time, shared by all replicas of a service. Every implementation passes
/// [`crate::contract::run_cache`].
#[async_trait]
pub trait Cache: Send + Sync + 'static {
    /// The value of a key; `None` when there is none, or no more.
    async fn get(&self, key: &str) -> Result<Option<Bytes>>;

    /// Sets the value of a key for `ttl` from now.
    async fn put(&self, key: &str, value: Bytes, ttl: Duration) -> Result<()>;

    /// Forgets a key.
    async fn remove(&self, key: &str) -> Result<()>;

    /// Adds `by` to a counter, in one step, and answers what it is then. A counter that is not there begins at 0 and is
    /// forgotten `ttl` after that, however often it is changed. [`Cache::get`] answers its decimal digits.
    ///
    /// # Errors
    /// `conflict` for a value that is not a whole number, or no longer would be one of 64 bits; it stays as it is.
    async fn increment(&self, key: &str, by: i64, ttl: Duration) -> Result<i64>;
}

/// How long an entry is kept: not for nothing, and not beyond what clocks and servers can count.
pub(crate) fn kept_for(ttl: Duration) -> Duration {
    const SHORTEST: Duration = Duration::from_millis(1);
    const LONGEST: Duration = Duration::from_hours(24 * 366);
    ttl.clamp(SHORTEST, LONGEST)
}

/// A counter, as it is kept, and `by`. As on Redis, a number is one only as it would be written here: `+1` and `01` are none.
pub(crate) fn added(counter: &[u8], by: i64) -> Result<i64> {
    let number = str::from_utf8(counter).ok().and_then(|digits| digits.parse::<i64>().ok());
    let number = number.filter(|number| number.to_string().as_bytes() == counter);
    number.and_then(|number| number.checked_add(by)).ok_or_else(not_a_counter)
}

pub(crate) fn not_a_counter() -> Error {
    Error::conflict("the cached value is no counter, or has no room for more")
}
