use async_trait::async_trait;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn throttle(cache: Arc<dyn Cache>, window: Duration) -> Throttle {
    Throttle::new(Limits { per_account: 3, per_address: 5, window }, cache, b"a secret of the tests")
}

fn alone(window: Duration) -> Throttle {
    throttle(Arc::new(MemoryCache::new(1_000)), window)
}

/// Asks `times` times for an account from one address, all in vain.
async fn fail(throttle: &Throttle, account: &str, address: &str, times: usize) {
    for _ in 0..times {
        throttle.begin(account, address).await.unwrap();
    }
}

async fn refusal(throttle: &Throttle, account: &str, address: &str) -> Error {
    throttle.begin(account, address).await.unwrap_err()
}

#[tokio::test]
async fn an_account_is_closed_after_too_many_failures_and_says_for_how_long() {
    let throttle = alone(MINUTE);
    for address in ["1", "2", "3"] {
        fail(&throttle, "ann", address, 1).await;
    }
    let error = refusal(&throttle, "ann", "4").await;
    let wait = error.retry_after_ms().unwrap();
    assert!(error.code() == Code::RateLimited && (50_000..=60_000).contains(&wait), "{wait}");
    fail(&throttle, "bob", "1", 1).await;
}

#[tokio::test]
async fn the_window_begins_with_the_first_failure_and_what_is_refused_does_not_prolong_it() {
    let throttle = alone(Duration::from_millis(300));
    fail(&throttle, "ann", "1", 3).await;
    let closed = Instant::now();
    while let Err(error) = throttle.begin("ann", "1").await {
        assert!(error.retry_after_ms().unwrap() <= 300);
        assert!(closed.elapsed() < MINUTE, "it opens again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn an_address_is_closed_whatever_accounts_it_tries() {
    let throttle = alone(MINUTE);
    for account in ["a", "b", "c", "d", "e"] {
        fail(&throttle, account, "1", 1).await;
    }
    refusal(&throttle, "f", "1").await;
    // What the address was refused does not count against the account.
    fail(&throttle, "f", "2", 3).await;
}

#[tokio::test]
async fn a_success_forgives_the_account_and_of_the_address_only_itself() {
    let throttle = alone(MINUTE);
    fail(&throttle, "ann", "1", 2).await;
    let attempt = throttle.begin("ann", "1").await.unwrap();
    throttle.succeed(attempt).await;
    fail(&throttle, "ann", "2", 3).await;
    fail(&throttle, "bob", "1", 3).await;
    refusal(&throttle, "cid", "1").await;
}

#[tokio::test]
async fn an_attempt_that_came_to_no_answer_counts_against_nobody() {
    let throttle = alone(MINUTE);
    for _ in 0..20 {
        let attempt = throttle.begin("ann", "1").await.unwrap();
        throttle.withdraw(attempt).await;
    }
    fail(&throttle, "ann", "1", 3).await;
}

#[tokio::test]
async fn replicas_count_together() {
    let cache: Arc<dyn Cache> = Arc::new(MemoryCache::new(1_000));
    let (one, two) = (throttle(cache.clone(), MINUTE), throttle(cache, MINUTE));
    fail(&one, "ann", "1", 2).await;
    fail(&two, "ann", "2", 1).await;
    refusal(&one, "ann", "3").await;
    refusal(&two, "ann", "3").await;
}

#[tokio::test]
async fn addresses_of_one_ipv6_network_count_as_one() {
    let throttle = alone(MINUTE);
    for host in 1..=5 {
        fail(&throttle, &format!("account {host}"), &format!("2001:db8:0:1::{host}"), 1).await;
    }
    refusal(&throttle, "f", "2001:db8:0:1:ffff::9").await;
    fail(&throttle, "f", "2001:db8:0:2::1", 1).await;
    assert_eq!(network("::ffff:203.0.113.9"), "::ffff:203.0.113.9");
}

/// A cache that is away when told so, and notes what it is asked for.
struct Moody {
    inner: MemoryCache,
    away: AtomicBool,
    hangs: AtomicBool,
    keys: std::sync::Mutex<Vec<String>>,
}

impl Moody {
    async fn ask(&self, key: &str) -> Result<()> {
        self.keys.lock().unwrap().push(key.to_owned());
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.away.load(Ordering::SeqCst) { Err(Error::unavailable("redis is away")) } else { Ok(()) }
    }
}

#[async_trait]
impl Cache for Moody {
    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.ask(key).await?;
        self.inner.get(key).await
    }

    async fn put(&self, key: &str, value: Bytes, ttl: Duration) -> Result<()> {
        self.ask(key).await?;
        self.inner.put(key, value, ttl).await
    }

    async fn remove(&self, key: &str) -> Result<()> {
        self.ask(key).await?;
        self.inner.remove(key).await
    }

    async fn increment(&self, key: &str, by: i64, ttl: Duration) -> Result<i64> {
        self.ask(key).await?;
        self.inner.increment(key, by, ttl).await
    }
}

fn moody(away: bool, hangs: bool) -> Arc<Moody> {
    Arc::new(Moody {
        inner: MemoryCache::new(1_000),
        away: AtomicBool::new(away),
        hangs: AtomicBool::new(hangs),
        keys: std::sync::Mutex::default(),
    })
}

#[tokio::test]
async fn with_the_cache_away_or_stuck_sign_in_works_and_is_throttled_all_the_same() {
    for cache in [moody(true, false), moody(false, true)] {
        let throttle = throttle(cache.clone(), MINUTE);
        fail(&throttle, "ann", "1", 3).await;
        refusal(&throttle, "ann", "1").await;
        let attempt = throttle.begin("bob", "1").await.unwrap();
        throttle.succeed(attempt).await;
        assert_eq!(cache.keys.lock().unwrap().len(), 1, "it is left alone for a while");
    }
}

#[tokio::test]
async fn what_stands_in_the_cache_names_nobody() {
    let cache = moody(false, false);
    let throttle = throttle(cache.clone(), MINUTE);
    fail(&throttle, "ann@example.org", "203.0.113.9", 3).await;
    refusal(&throttle, "ann@example.org", "203.0.113.9").await;
    let keys = cache.keys.lock().unwrap();
    assert!(!keys.is_empty() && keys.iter().all(|key| !key.contains("ann") && !key.contains("203")), "{keys:?}");
}
