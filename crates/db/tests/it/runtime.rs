use std::time::Duration;

use sea_orm::{ConnectionTrait, Statement};
use sker_db::{Db, DbConfig};
use tokio::time::timeout;

use crate::world::{World, mariadb, postgres};

async fn connection_id(db: &Db, world: &World) -> i64 {
    let query =
        if world.is_mysql() { "SELECT CAST(CONNECTION_ID() AS SIGNED)" } else { "SELECT pg_backend_pid()::bigint" };
    let row = db.read().query_one_raw(Statement::from_string(db.backend(), query)).await.expect("read").expect("a row");
    row.try_get_by_index(0).expect("an id")
}

/// Actix workers are such threads: each with a small runtime of its own, which ends with it.
fn on_a_worker<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    let worker = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(work)
    });
    worker.join().expect("a worker")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_opened_in_a_worker_outlives_it() {
    for world in [postgres().await, mariadb().await] {
        let db = Db::connect(&DbConfig { max_connections: 1, ..world.config().clone() }).await.expect("a database");
        let before = connection_id(&db, &world).await;
        let end =
            if world.is_mysql() { format!("KILL {before}") } else { format!("SELECT pg_terminate_backend({before})") };
        world.connect().await.write().execute_unprepared(&end).await.expect("ended");
        let (in_worker, world) = {
            let db = db.clone();
            let answer = tokio::task::spawn_blocking(move || {
                on_a_worker(async move {
                    let id = connection_id(&db, &world).await;
                    (id, world)
                })
            });
            answer.await.expect("ran")
        };
        assert_ne!(in_worker, before, "{world}: the worker had to open a connection");
        assert_eq!(connection_id(&db, &world).await, in_worker, "{world}: and it is used after the worker's end");
        let tx = db.begin().await.expect("it bears transactions");
        tx.commit().await.expect("committed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_outlives_a_worker_that_gave_up_on_its_query() {
    for world in [postgres().await, mariadb().await] {
        let db = Db::connect(&DbConfig { max_connections: 1, ..world.config().clone() }).await.expect("a database");
        let before = connection_id(&db, &world).await;
        let query = if world.is_mysql() { "SELECT SLEEP(1)" } else { "SELECT pg_sleep(1)" };
        let caller = db.clone();
        let gave_up = tokio::task::spawn_blocking(move || {
            on_a_worker(async move {
                timeout(Duration::from_millis(200), caller.write().execute_unprepared(query)).await.is_err()
            })
        });
        assert!(gave_up.await.expect("ran"), "{world}: the query was under way");
        assert_eq!(connection_id(&db, &world).await, before, "{world}: it came back to the pool");
    }
}
