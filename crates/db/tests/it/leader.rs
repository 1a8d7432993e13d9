use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use sea_orm::{ConnectionTrait, Statement};
use sker_db::Db;
use sker_testkit::{PATIENCE, eventually};
use tokio::{task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::world::{World, mariadb, postgres, sqlite};

/// A process that wants to lead, and how often its work began and was told to end.
struct Candidate {
    stop: CancellationToken,
    begun: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
    running: JoinHandle<()>,
}

impl Candidate {
    fn new(db: Db) -> Self {
        let stop = CancellationToken::new();
        let (begun, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let running = tokio::spawn({
            let (stop, begun, ended) = (stop.clone(), begun.clone(), ended.clone());
            async move {
                db.lead("relay", stop, async |token: CancellationToken| {
                    begun.fetch_add(1, Ordering::SeqCst);
                    token.cancelled().await;
                    ended.fetch_add(1, Ordering::SeqCst);
                })
                .await;
            }
        });
        Candidate { stop, begun, ended, running }
    }

    fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    fn works(&self) -> bool {
        self.begun() > self.ended.load(Ordering::SeqCst)
    }

    async fn stop(self) {
        self.stop.cancel();
        self.running.await.expect("ended");
        assert_eq!(self.begun.load(Ordering::SeqCst), self.ended.load(Ordering::SeqCst));
    }
}

async fn becomes(what: &str, condition: impl Fn() -> bool) {
    eventually(what, async || Ok(condition().then_some(()))).await.expect(what);
}

/// Ends the connections that hold leadership, as an administrator would.
async fn end_the_leaders_connection(db: &Db, world: &World) {
    let find = if world.is_mysql() {
        "SELECT CAST(IS_USED_LOCK(SHA1(CONCAT_WS('/', DATABASE(), 'sker/lead//relay'))) AS SIGNED) AS id"
    } else {
        "SELECT pid::bigint AS id FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = \
         (SELECT oid FROM pg_database WHERE datname = current_database())"
    };
    let row =
        db.read().query_one_raw(Statement::from_string(db.backend(), find)).await.expect("read").expect("a leader");
    let id: i64 = row.try_get("", "id").expect("an id");
    let kill = if world.is_mysql() { format!("KILL {id}") } else { format!("SELECT pg_terminate_backend({id})") };
    db.write().execute_unprepared(&kill).await.expect("ended");
}

async fn hands_over(world: World) {
    let (first, second) = (Candidate::new(world.connect().await), Candidate::new(world.connect().await));
    becomes("one of two leads", || first.works() || second.works()).await;
    let (leader, follower) = if first.works() { (first, second) } else { (second, first) };
    assert!(!follower.works(), "{world}: only one leads");

    end_the_leaders_connection(&world.connect().await, &world).await;
    becomes("the work of one that lost leadership is told to end", || leader.begun() > 1 || !leader.works()).await;
    becomes("somebody leads again", || leader.works() || follower.works()).await;
    assert!(!(leader.works() && follower.works()), "{world}: still only one leads");

    let (leader, follower) = if leader.works() { (leader, follower) } else { (follower, leader) };
    let before = follower.begun();
    leader.stop().await;
    becomes("the other one follows at once", || follower.begun() > before).await;
    follower.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgresql_one_process_leads_and_another_takes_over() {
    hands_over(postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_mariadb_one_process_leads_and_another_takes_over() {
    hands_over(mariadb().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_led_apart_from_another() {
    for world in [postgres().await, mariadb().await] {
        let db = world.connect().await;
        let relay = Candidate::new(db.clone());
        becomes("the relay leads", || relay.works()).await;
        let (led, stop) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
        let reconciler = db.lead("reconciler", stop.clone(), async |_| {
            led.fetch_add(1, Ordering::SeqCst);
            stop.cancel();
        });
        timeout(PATIENCE, reconciler).await.expect("it does not wait for the relay");
        assert_eq!(led.load(Ordering::SeqCst), 1, "{world}");
        relay.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_ends_by_itself_is_begun_again() {
    for world in [sqlite(), postgres().await] {
        let (begun, stop) = (AtomicUsize::new(0), CancellationToken::new());
        let work = async |_| {
            if begun.fetch_add(1, Ordering::SeqCst) == 1 {
                stop.cancel();
            }
        };
        world.connect().await.lead("relay", stop.clone(), work).await;
        assert_eq!(begun.load(Ordering::SeqCst), 2, "{world}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_the_one_process_leads() {
    let world = sqlite();
    let candidate = Candidate::new(world.connect().await);
    becomes("it leads", || candidate.works()).await;
    candidate.stop().await;
}
