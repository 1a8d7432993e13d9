//! Slows down guessing: failed sign-ins per account and per address, counted for all replicas together.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use sker_cache::{Cache, MemoryCache};
use sker_error::{Code, Error, Result};

/// How many failures are too many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub per_account: u32,
    pub per_address: u32,
    pub window: Duration,
}

/// A sign-in waits no longer for the shared cache.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long the shared cache is left alone when it did not answer.
const PAUSE: Duration = Duration::from_secs(5);
/// Counters of this process, for when the shared cache is away.
const ENTRIES: u64 = 20_000;

/// Counts failures in windows that begin with the first of them. What it keeps in the cache names neither accounts nor
/// addresses.
pub(super) struct Throttle {
    limits: Limits,
    secret: Vec<u8>,
    shared: Arc<dyn Cache>,
    local: MemoryCache,
    began: Instant,
    /// Until when the shared cache is left alone, in milliseconds since `began`.
    away_until: AtomicU64,
    away: AtomicBool,
}

/// A sign-in that is counted as failed until something else is said of it.
#[derive(Debug)]
pub(super) struct Attempt {
    account: String,
    address: String,
    local: bool,
}

impl Throttle {
    /// `secret` hides accounts and addresses.
    pub(super) fn new(limits: Limits, shared: Arc<dyn Cache>, secret: &[u8]) -> Self {
        Throttle {
            limits,
            secret: secret.to_vec(),
            shared,
            local: MemoryCache::new(ENTRIES),
            began: Instant::now(),
            away_until: AtomicU64::new(0),
            away: AtomicBool::new(false),
        }
    }

    /// Counts an attempt as failed before its outcome is known, so that many at once are no way around the limit.
    /// `rate_limited` when the account or the address has failed too often; whether the account exists makes no difference.
    pub(super) async fn begin(&self, account: &str, address: &str) -> Result<Attempt> {
        let mut attempt = Attempt {
            account: self.key("account", account)?,
            address: self.key("address", &network(address))?,
            local: self.is_away(),
        };
        if !attempt.local {
            match self.in_time(self.count(&*self.shared, &attempt)).await {
                Ok(verdict) => return verdict.map(|()| attempt),
                Err(error) => self.note_away(&error),
            }
        }
        attempt.local = true;
        self.count(&self.local, &attempt).await?.map(|()| attempt)
    }

    /// The account's owner is there: what failed before no longer counts against it. Against the address only this attempt
    /// does not.
    pub(super) async fn succeed(&self, attempt: Attempt) {
        self.settle(attempt, true).await;
    }

    /// It did not come to an answer: the attempt counts against nobody.
    pub(super) async fn withdraw(&self, attempt: Attempt) {
        self.settle(attempt, false).await;
    }

    async fn settle(&self, attempt: Attempt, forgive: bool) {
        let settled = match attempt.local {
            true => self.settle_in(&self.local, &attempt, forgive).await,
            false => self.in_time(self.settle_in(&*self.shared, &attempt, forgive)).await,
        };
        if let Err(error) = settled {
            self.note_away(&error);
        }
    }

    async fn settle_in(&self, cache: &dyn Cache, attempt: &Attempt, forgive: bool) -> Result<()> {
        if forgive {
            cache.remove(&attempt.account).await?;
        } else {
            self.take_back(cache, &attempt.account).await?;
        }
        self.take_back(cache, &attempt.address).await
    }

    /// The outer error is the cache's, the inner one that there were too many.
    async fn count(&self, cache: &dyn Cache, attempt: &Attempt) -> Result<Result<()>> {
        if let Some(left) = self.count_one(cache, &attempt.account, self.limits.per_account).await? {
            return Ok(Err(too_many(left)));
        }
        if let Some(left) = self.count_one(cache, &attempt.address, self.limits.per_address).await? {
            self.take_back(cache, &attempt.account).await?;
            return Ok(Err(too_many(left)));
        }
        Ok(Ok(()))
    }

    /// Counts one more; how long it is closed, when that is too many. Then it is not counted.
    async fn count_one(&self, cache: &dyn Cache, key: &str, limit: u32) -> Result<Option<Duration>> {
        let window = self.limits.window;
        let failures = cache.increment(key, 1, window).await?;
        let end = format!("{key}:end");
        if failures == 1 {
            let until = (now() + window).as_millis().to_string();
            cache.put(&end, Bytes::from(until), window).await?;
        }
        if failures <= i64::from(limit) {
            return Ok(None);
        }
        self.take_back(cache, key).await?;
        let until = cache.get(&end).await?;
        let until = until.and_then(|text| str::from_utf8(&text).ok()?.parse().ok()).map(Duration::from_millis);
        // Whoever began the window may have been stopped before it said when it ends.
        let left = until.map_or(window, |until| until.saturating_sub(now())).min(window);
        Ok(Some(left.max(Duration::from_millis(1))))
    }

    async fn take_back(&self, cache: &dyn Cache, key: &str) -> Result<()> {
        let failures = cache.increment(key, -1, self.limits.window).await?;
        // Its window ended in between, and with it what was counted.
        if failures < 0 {
            cache.remove(key).await?;
        }
        Ok(())
    }

    async fn in_time<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        match tokio::time::timeout(PATIENCE, call).await {
            Ok(answer) => {
                if answer.is_ok() && self.away.swap(false, Ordering::Relaxed) {
                    tracing::info!("sign-ins are throttled together with other replicas again");
                }
                answer
            }
            Err(elapsed) => Err(Error::timeout("the cache does not answer").with_cause(elapsed)),
        }
    }

    fn is_away(&self) -> bool {
        self.elapsed_ms() < self.away_until.load(Ordering::Relaxed)
    }

    fn note_away(&self, error: &Error) {
        let pause = u64::try_from(PAUSE.as_millis()).unwrap_or(u64::MAX);
        self.away_until.store(self.elapsed_ms().saturating_add(pause), Ordering::Relaxed);
        if !self.away.swap(true, Ordering::Relaxed) {
            tracing::warn!(error = ?error, "the cache is away; this replica throttles sign-ins for itself");
        }
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Where a counter is. Nobody who reads the cache learns who signs in, or can try names.
    fn key(&self, kind: &str, name: &str) -> Result<String> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).map_err(Error::internal)?;
        mac.update(b"sign-in throttle ");
        mac.update(kind.as_bytes());
        mac.update(b" ");
        mac.update(name.as_bytes());
        Ok(format!("store:sign-in:{kind}:{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())))
    }
}

fn too_many(left: Duration) -> Error {
    Error::new(Code::RateLimited, "too many failed sign-ins; try again later")
        .with_retry_after_ms(u64::try_from(left.as_millis()).unwrap_or(u64::MAX))
}

/// Since 1970: replicas compare it.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// What counts as one address: of IPv6 the network, since whoever has one address has the 2^64 of its /64.
fn network(address: &str) -> String {
    match address.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V6(v6)) => format!("{:x}", v6.to_bits() >> 64),
        _ => address.to_owned(),
    }
}

#[cfg(test)]
mod tests;
