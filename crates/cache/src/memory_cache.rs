use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use moka::{
    Expiry,
    future::Cache as Moka,
    ops::compute::{CompResult, Op},
    policy::EvictionPolicy,
};
use sker_error::{Error, Result};

use crate::{
    Cache,
    cache::{added, kept_for},
};

/// A [`Cache`] in this process, of at most `entries` values: those used longest ago are forgotten first.
#[derive(Clone, Debug)]
pub struct MemoryCache {
    entries: Moka<String, Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    value: Bytes,
    expires_at: Instant,
}

/// An entry's own end, whether it is new or changed: a change of a counter must not prolong it.
struct AtItsOwnTime;

impl Expiry<String, Entry> for AtItsOwnTime {
    fn expire_after_create(&self, _key: &String, entry: &Entry, now: Instant) -> Option<Duration> {
        Some(entry.expires_at.saturating_duration_since(now))
    }

    fn expire_after_update(&self, _: &String, entry: &Entry, now: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(entry.expires_at.saturating_duration_since(now))
    }
}

impl MemoryCache {
    /// An empty one.
    pub fn new(entries: u64) -> Self {
        let entries = Moka::builder()
            .max_capacity(entries.max(1))
            // The usual policy turns new keys away in favour of popular ones: a new counter would stay at 0 for ever.
            .eviction_policy(EvictionPolicy::lru())
            .expire_after(AtItsOwnTime)
            .build();
        MemoryCache { entries }
    }
}

#[async_trait]
impl Cache for MemoryCache {
    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        Ok(self.entries.get(key).await.filter(|entry| entry.expires_at > Instant::now()).map(|entry| entry.value))
    }

    async fn put(&self, key: &str, value: Bytes, ttl: Duration) -> Result<()> {
        self.entries.insert(key.to_owned(), Entry { value, expires_at: Instant::now() + kept_for(ttl) }).await;
        Ok(())
    }

    async fn remove(&self, key: &str) -> Result<()> {
        self.entries.invalidate(key).await;
        Ok(())
    }

    async fn increment(&self, key: &str, by: i64, ttl: Duration) -> Result<i64> {
        // One computation at a time per key, so no addition is lost.
        let result = self
            .entries
            .entry(key.to_owned())
            .and_try_compute_with(|entry| async move {
                let there = entry.map(|entry| entry.into_value()).filter(|entry| entry.expires_at > Instant::now());
                let (value, expires_at) = match there {
                    Some(entry) => (added(&entry.value, by)?, entry.expires_at),
                    None => (by, Instant::now() + kept_for(ttl)),
                };
                Ok::<_, Error>(Op::Put(Entry { value: Bytes::from(value.to_string()), expires_at }))
            })
            .await?;
        match result {
            CompResult::Inserted(entry) | CompResult::ReplacedWith(entry) => added(&entry.into_value().value, 0),
            other => Err(Error::internal(format!("a counter was put and is {other:?}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract;

    #[tokio::test]
    async fn it_keeps_the_contract() {
        contract::run_cache(MemoryCache::new(1_000)).await;
    }

    #[tokio::test]
    async fn a_full_one_forgets_what_was_used_longest_ago() {
        let cache = MemoryCache::new(10);
        let hour = Duration::from_hours(1);
        for number in 0..1_000 {
            cache.increment("busy", 1, hour).await.unwrap();
            cache.put(&format!("key {number}"), Bytes::new(), hour).await.unwrap();
            cache.entries.run_pending_tasks().await;
            assert!(cache.entries.entry_count() <= 10);
        }
        assert_eq!(cache.increment("busy", 1, hour).await.unwrap(), 1_001);
        assert!(cache.get("key 999").await.unwrap().is_some());
        assert!(cache.get("key 0").await.unwrap().is_none());
    }
}
