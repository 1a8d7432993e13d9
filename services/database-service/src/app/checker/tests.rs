use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use sker_error::{Error, Result as Answer};

use super::*;
use crate::app::{Drivers, Kind, Monitor, Progress, Session, TestRequest};

/// What a driver of the test was asked to do.
#[derive(Default)]
struct Book {
    /// How long an answer takes; for ever when there is none.
    pause: Option<Duration>,
    now: AtomicUsize,
    most: AtomicUsize,
    opened: AtomicUsize,
    open: AtomicUsize,
    /// Sessions that are open stop working; new ones work.
    cut: AtomicBool,
    /// Sessions that are open get no more answers; new ones do.
    mute: AtomicBool,
    depths: std::sync::Mutex<Vec<Depth>>,
}

/// Connects, and then answers after a while, or never. Counts how many do so at once.
#[derive(Default)]
struct Slow(Arc<Book>);

struct Leave<'a>(&'a AtomicUsize);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Open(Arc<Book>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Driver for Slow {
    async fn connect(
        &self,
        _: &Target,
        _: tokio::time::Instant,
        progress: &Progress,
    ) -> Result<Box<dyn Session>, Failure> {
        progress.enter(Step::Authenticate);
        self.0.cut.store(false, Ordering::SeqCst);
        self.0.mute.store(false, Ordering::SeqCst);
        self.0.opened.fetch_add(1, Ordering::SeqCst);
        self.0.open.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(Open(self.0.clone())))
    }

    fn check_url(&self, _: &str) -> Result<(), String> {
        Ok(())
    }
}

#[async_trait]
impl Session for Open {
    async fn look(&mut self, depth: Depth, progress: &Progress) -> Result<Observation, Failure> {
        if self.0.cut.load(Ordering::SeqCst) {
            return Err(progress.failure("the server closed the connection"));
        }
        if self.0.mute.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.0.depths.lock().unwrap().push(depth);
        self.0.most.fetch_max(self.0.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let _leave = Leave(&self.0.now);
        match self.0.pause {
            Some(pause) => tokio::time::sleep(pause).await,
            None => std::future::pending().await,
        }
        Ok(Observation::default())
    }

    async fn close(self: Box<Self>) {}
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

fn slow(pause: Option<Duration>) -> Arc<Slow> {
    Arc::new(Slow(Arc::new(Book { pause, ..Book::default() })))
}

fn checker(driver: &Arc<Slow>, deadline: Duration) -> Arc<Checker> {
    let target = Target::new("a", Kind::Redis, "redis://h");
    let driver: Arc<dyn Driver> = driver.clone();
    Arc::new(Checker::new(target, driver, intervals(deadline), Remembered::default()))
}

#[tokio::test]
async fn a_check_that_hangs_is_cut_off_and_says_how_far_it_came() {
    let driver = slow(None);
    let record = check(&checker(&driver, Duration::from_millis(20))).await;
    let error = record.error.unwrap();
    assert_eq!((error.step, error.message.as_str()), (Step::Query, "no answer within 20 ms"));
    let left = (driver.0.now.load(Ordering::SeqCst), driver.0.open.load(Ordering::SeqCst));
    assert_eq!(left, (0, 0), "nothing is left behind");
}

#[tokio::test]
async fn a_target_is_never_probed_twice_at_once_whoever_asks() {
    let driver = slow(Some(Duration::from_millis(20)));
    let checker = checker(&driver, PATIENCE);
    let drivers = Drivers::new().with(Kind::Redis, driver.clone());
    let monitor = Monitor::new(vec![checker.clone()], drivers, PATIENCE);
    let test = || monitor.test(Kind::Redis, TestRequest::default());
    let (_, one, two, three) = tokio::join!(check(&checker), test(), test(), test());
    assert!([one, two, three].into_iter().all(|report| report.unwrap().success));
    assert_eq!(driver.0.most.load(Ordering::SeqCst), 1);
    assert_eq!(checker.seen().records.len(), 1, "a test is no check");
}

#[tokio::test]
async fn a_failing_target_is_checked_again_soon_and_a_healthy_one_at_its_usual_time() {
    let failing = slow(None);
    let healthy = slow(Some(Duration::ZERO));
    let (down, up) = (checker(&failing, Duration::from_millis(5)), checker(&healthy, PATIENCE));
    let token = CancellationToken::new();
    let enough = async {
        while down.seen().records.len() < 6 || up.seen().records.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        token.cancel();
    };
    let all =
        async { tokio::join!(down.run(&Away, token.clone(), |_| ()), up.run(&Away, token.clone(), |_| ()), enough) };
    tokio::time::timeout(PATIENCE, all).await.expect("both are checked");
    assert_eq!((up.seen().records.len(), up.seen().tracker.condition), (1, Condition::Healthy));
    assert_eq!(down.seen().tracker.condition, Condition::Down);
    assert!(down.seen().records.iter().all(|record| !record.success));
    assert_eq!(up.connections(), (1, 0));
    assert!(!up.is_connected(), "who stops takes leave");
}

#[tokio::test]
async fn the_first_check_is_deep_and_the_next_is_light_while_all_is_well() {
    let driver = slow(Some(Duration::ZERO));
    let checker = checker(&driver, PATIENCE);
    check(&checker).await;
    check(&checker).await;
    assert_eq!(*driver.0.depths.lock().unwrap(), [Depth::Deep, Depth::Light]);
}

#[tokio::test]
async fn a_connection_is_kept_between_light_checks_and_made_anew_for_a_test() {
    let driver = slow(Some(Duration::ZERO));
    let checker = checker(&driver, PATIENCE);
    let counts = || (driver.0.opened.load(Ordering::SeqCst), driver.0.open.load(Ordering::SeqCst));
    for _ in 0..5 {
        check(&checker).await;
    }
    assert_eq!(counts(), (1, 1));
    assert!(checker.test().await.0.is_ok());
    assert_eq!(counts(), (2, 1));
    check(&checker).await;
    assert_eq!(counts(), (2, 1));
}

#[tokio::test]
async fn a_kept_connection_that_the_server_has_ended_is_no_failure_of_the_server() {
    let driver = slow(Some(Duration::ZERO));
    let checker = checker(&driver, PATIENCE);
    check(&checker).await;
    driver.0.cut.store(true, Ordering::SeqCst);
    assert!(check(&checker).await.success);
    assert_eq!((checker.connections(), driver.0.open.load(Ordering::SeqCst)), ((2, 0), 1));
}

#[tokio::test]
async fn a_kept_connection_that_something_in_between_has_forgotten_is_no_failure_of_the_server() {
    let driver = slow(Some(Duration::ZERO));
    let checker = checker(&driver, Duration::from_secs(2));
    check(&checker).await;
    driver.0.mute.store(true, Ordering::SeqCst);
    assert!(check(&checker).await.success);
    assert_eq!((checker.connections(), driver.0.open.load(Ordering::SeqCst)), ((2, 0), 1));
}

#[tokio::test]
async fn a_journal_that_is_away_loses_no_check() {
    let driver = slow(Some(Duration::ZERO));
    let checker = checker(&driver, PATIENCE);
    for _ in 0..150 {
        check(&checker).await;
    }
    assert_eq!((checker.seen().records.len(), checker.seen().tracker.successes), (HISTORY_LENGTH, 150));
}
