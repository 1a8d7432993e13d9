use std::time::Duration;

use bytes::Bytes;
use sker_error::Code;
use sker_types::Uuid;

use crate::Cache;

const LONG: Duration = Duration::from_secs(3_600);
const SHORT: Duration = Duration::from_millis(200);

/// Runs the suite on a cache, a fresh one or one that is in use: it takes keys nobody has.
pub async fn run_cache(cache: impl Cache) {
    a_value_is_there_until_it_is_removed(&cache).await;
    a_value_is_forgotten_after_its_time(&cache).await;
    additions_at_the_same_time_all_count(&cache).await;
    a_counter_ends_when_it_was_said_to_however_often_it_changes(&cache).await;
    a_counter_is_exact_and_never_wraps(&cache).await;
    what_is_no_counter_is_not_added_to(&cache).await;
}

fn fresh_key() -> String {
    format!("key:{}", Uuid::new_v4())
}

async fn get(cache: &impl Cache, key: &str) -> Option<Bytes> {
    cache.get(key).await.expect("the cache answers")
}

async fn put(cache: &impl Cache, key: &str, value: &'static [u8], ttl: Duration) {
    cache.put(key, Bytes::from_static(value), ttl).await.expect("the cache takes values");
}

async fn add(cache: &impl Cache, key: &str, by: i64, ttl: Duration) -> i64 {
    cache.increment(key, by, ttl).await.expect("the cache counts")
}

async fn a_value_is_there_until_it_is_removed(cache: &impl Cache) {
    let (key, other) = (fresh_key(), fresh_key());
    assert_eq!(get(cache, &key).await, None);
    for value in [&b"one"[..], b"", b"\0\xff\r\n"] {
        put(cache, &key, value, LONG).await;
        assert_eq!(get(cache, &key).await.as_deref(), Some(value));
    }
    // Longer than any clock or server can count.
    put(cache, &other, b"other", Duration::MAX).await;
    cache.remove(&key).await.expect("the cache forgets");
    cache.remove(&key).await.expect("a second time is no fault");
    assert_eq!(get(cache, &key).await, None);
    assert_eq!(get(cache, &other).await.as_deref(), Some(&b"other"[..]));
}

async fn a_value_is_forgotten_after_its_time(cache: &impl Cache) {
    for ttl in [SHORT, Duration::ZERO] {
        let key = fresh_key();
        put(cache, &key, b"value", ttl).await;
        until("the value is forgotten", async || get(cache, &key).await.is_none()).await;
    }
}

async fn additions_at_the_same_time_all_count(cache: &impl Cache) {
    let key = fresh_key();
    let sums = futures::future::join_all((0..50).map(|_| add(cache, &key, 1, LONG)));
    let mut sums = sums.await;
    sums.sort_unstable();
    assert_eq!(sums, (1..=50).collect::<Vec<_>>());
    assert_eq!(add(cache, &key, -8, LONG).await, 42);
    assert_eq!(get(cache, &key).await.as_deref(), Some(&b"42"[..]));
}

async fn a_counter_ends_when_it_was_said_to_however_often_it_changes(cache: &impl Cache) {
    let key = fresh_key();
    assert_eq!(add(cache, &key, 1, SHORT).await, 1);
    // Were it prolonged by each addition, it would count on for ever.
    until("the counter begins anew", async || add(cache, &key, 1, LONG).await == 1).await;
}

async fn a_counter_is_exact_and_never_wraps(cache: &impl Cache) {
    let key = fresh_key();
    assert_eq!(add(cache, &key, i64::MAX - 2, LONG).await, i64::MAX - 2);
    assert_eq!(add(cache, &key, 1, LONG).await, i64::MAX - 1);
    let refused = cache.increment(&key, 2, LONG).await.expect_err("there is no room");
    assert_eq!(refused.code(), Code::Conflict);
    assert_eq!(add(cache, &key, 1, LONG).await, i64::MAX);
    assert_eq!(add(cache, &fresh_key(), i64::MIN, LONG).await, i64::MIN);
}

async fn what_is_no_counter_is_not_added_to(cache: &impl Cache) {
    for value in [&b"text"[..], b"", b"+5", b"05", b" 5", b"1.5", b"9223372036854775808", b"\xff"] {
        let key = fresh_key();
        put(cache, &key, value, LONG).await;
        let refused = cache.increment(&key, 1, LONG).await.expect_err("it is no counter");
        assert_eq!(refused.code(), Code::Conflict);
        assert_eq!(get(cache, &key).await.as_deref(), Some(value));
    }
    let key = fresh_key();
    put(cache, &key, b"-5", LONG).await;
    assert_eq!(add(cache, &key, 1, LONG).await, -4, "whole numbers are counters, whoever put them");
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}
