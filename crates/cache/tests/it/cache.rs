use std::time::Duration;

use bytes::Bytes;
use sker_cache::{Cache, Redis, RedisCache, contract};

use crate::support::{Raw, shared};

#[tokio::test]
async fn it_keeps_the_contract() {
    contract::run_cache(RedisCache::new(Redis::new(&shared()).unwrap())).await;
}

#[tokio::test]
async fn replicas_share_their_values_and_other_platforms_do_not_see_them() {
    let (mine, others) = (shared(), shared());
    let hour = Duration::from_hours(1);
    let one = RedisCache::new(Redis::new(&mine).unwrap());
    let replica = RedisCache::new(Redis::new(&mine).unwrap());
    let other = RedisCache::new(Redis::new(&others).unwrap());
    one.put("key", Bytes::from_static(b"value"), hour).await.unwrap();
    assert_eq!(replica.get("key").await.unwrap().as_deref(), Some(&b"value"[..]));
    assert_eq!(other.get("key").await.unwrap(), None);
    assert_eq!(one.increment("count", 1, hour).await.unwrap(), 1);
    assert_eq!(replica.increment("count", 1, hour).await.unwrap(), 2);
    assert_eq!(other.increment("count", 1, hour).await.unwrap(), 1);
}

#[tokio::test]
async fn nothing_stays_for_ever() {
    let config = shared();
    let cache = RedisCache::new(Redis::new(&config).unwrap());
    cache.put("value", Bytes::new(), Duration::from_secs(100)).await.unwrap();
    cache.increment("count", 1, Duration::from_secs(100)).await.unwrap();
    cache.increment("count", 1, Duration::from_secs(9_000)).await.unwrap();
    let mut raw = Raw::of(&config).await;
    let keys = raw.keys().await;
    assert_eq!(keys.len(), 2);
    for key in keys {
        let left: i64 = raw.ask(&["PTTL", &key]).await;
        assert!((1..=100_000).contains(&left), "{key} has {left} ms left");
    }
}
