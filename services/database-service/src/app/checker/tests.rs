use std::sync::atomic::AtomicUsize;

use async_trait::async_trait;
use sker_error::{Error, Result as Answer};

use super::*;
use crate::app::{Drivers, Kind, Monitor, Progress, TestRequest};

/// Connects, and then answers after a while, or never. Counts how many do so at once.
#[derive(Default)]
struct Slow {
    pause: Option<Duration>,
    now: AtomicUsize,
    most: AtomicUsize,
    depths: std::sync::Mutex<Vec<Depth>>,
}

struct Leave<'a>(&'a AtomicUsize);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Driver for Slow {
    async fn probe(
        &self,
        _: &Target,
        depth: Depth,
        _: tokio::time::Instant,
        progress: &Progress,
    ) -> Result<Observation, Failure> {
        self.depths.lock().unwrap().push(depth);
        self.most.fetch_max(self.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let _leave = Leave(&self.now);
        progress.enter(Step::Authenticate);
        match self.pause {
            Some(pause) => tokio::time::sleep(pause).await,
            None => std::future::pending().await,
        }
        Ok(Observation::default())
    }

    fn check_url(&self, _: &str) -> Result<(), String> {
        Ok(())
    }
}

/// A journal whose database is away.
struct Away;

#[async_trait]
impl Journal for Away {
    async fn load(&self, _: &Target, _: i64) -> Answer<Remembered> {
        Err(Error::unavailable("away"))
    }

    async fn record(&self, _: &Target, _: &Record, _: &Tracker, _: (i64, Share)) -> Answer<()> {
        Err(Error::unavailable("away"))
    }
}

/// One check, as [`Checker::run`] makes it.
async fn check(checker: &Checker) -> Record {
    let taken = checker.take_in(checker.look().await);
    checker.write_down(&taken, &Away).await;
    taken.record
}

fn intervals(deadline: Duration) -> Intervals {
    Intervals {
        usual: Duration::from_secs(3600),
        close: Duration::from_millis(1),
        deep: Duration::from_secs(3600),
        deadline,
        thresholds: Thresholds { failures: 3, successes: 2 },
    }
}

/// Long enough that nothing but a probe that hangs ever reaches it.
const PATIENCE: Duration = Duration::from_secs(30);

fn checker(driver: &Arc<Slow>, deadline: Duration) -> Arc<Checker> {
    let target = Target::new("a", Kind::Redis, "redis://h");
    let driver: Arc<dyn Driver> = driver.clone();
    Arc::new(Checker::new(target, driver, intervals(deadline), Remembered::default()))
}

#[tokio::test]
async fn a_check_that_hangs_is_cut_off_and_says_how_far_it_came() {
    let driver = Arc::new(Slow::default());
    let record = check(&checker(&driver, Duration::from_millis(20))).await;
    let error = record.error.unwrap();
    assert_eq!((error.step, error.message.as_str()), (Step::Authenticate, "no answer within 20 ms"));
    assert_eq!(driver.now.load(Ordering::SeqCst), 0, "nothing is left behind");
}

#[tokio::test]
async fn a_target_is_never_probed_twice_at_once_whoever_asks() {
    let driver = Arc::new(Slow { pause: Some(Duration::from_millis(20)), ..Slow::default() });
    let checker = checker(&driver, PATIENCE);
    let drivers = Drivers::new().with(Kind::Redis, driver.clone());
    let monitor = Monitor::new(vec![checker.clone()], drivers, PATIENCE);
    let test = || monitor.test(Kind::Redis, TestRequest::default());
    let (_, one, two, three) = tokio::join!(check(&checker), test(), test(), test());
    assert!([one, two, three].into_iter().all(|report| report.unwrap().success));
    assert_eq!(driver.most.load(Ordering::SeqCst), 1);
    assert_eq!(checker.seen().records.len(), 1, "a test is no check");
}

#[tokio::test]
async fn a_failing_target_is_checked_again_soon_and_a_healthy_one_at_its_usual_time() {
    let failing = Arc::new(Slow::default());
    let healthy = Arc::new(Slow { pause: Some(Duration::ZERO), ..Slow::default() });
    let (down, up) = (checker(&failing, Duration::from_millis(5)), checker(&healthy, PATIENCE));
    let token = CancellationToken::new();
    let enough = async {
        while down.counts().0 < 6 || up.counts().0 < 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        token.cancel();
    };
    let all =
        async { tokio::join!(down.run(&Away, token.clone(), |_| ()), up.run(&Away, token.clone(), |_| ()), enough) };
    tokio::time::timeout(PATIENCE, all).await.expect("both are checked");
    assert_eq!((up.counts(), up.seen().tracker.condition), ((1, 0), Condition::Healthy));
    assert_eq!((down.counts().0, down.seen().tracker.condition), (down.counts().1, Condition::Down));
}

#[tokio::test]
async fn the_first_check_is_deep_and_the_next_is_light_while_all_is_well() {
    let driver = Arc::new(Slow { pause: Some(Duration::ZERO), ..Slow::default() });
    let checker = checker(&driver, PATIENCE);
    check(&checker).await;
    check(&checker).await;
    assert_eq!(*driver.depths.lock().unwrap(), [Depth::Deep, Depth::Light]);
}

#[tokio::test]
async fn a_journal_that_is_away_loses_no_check() {
    let driver = Arc::new(Slow { pause: Some(Duration::ZERO), ..Slow::default() });
    let checker = checker(&driver, PATIENCE);
    for _ in 0..150 {
        check(&checker).await;
    }
    assert_eq!((checker.seen().records.len(), checker.seen().tracker.successes), (HISTORY_LENGTH, 150));
}
