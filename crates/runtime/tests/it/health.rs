use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::Value;
use sker_error::Error;
use sker_runtime::{Check, CheckStatus, Health, HealthStatus, TaskSet};

use crate::support::{PATIENCE, Running};

#[tokio::test]
async fn a_check_that_hangs_holds_up_nobody() {
    let service = Running::start(|_| {}).await;
    let hangs = Check::required("database", std::future::pending).within(Duration::from_secs(3600));
    service.health.register(&service.tasks, hangs);
    let health: Value = service.get("/health").send().await.unwrap().json().await.unwrap();
    assert_eq!((&health["status"], &health["checks"][0]["status"]), (&"healthy".into(), &"unknown".into()));
    assert_eq!((&health["service"], &health["version"]), (&"test".into(), &"1.2.3".into()));
    let ready = service.get("/ready").send().await.unwrap();
    assert_eq!(ready.status(), 503);
    let body: Value = ready.json().await.unwrap();
    assert_eq!(body["waiting_for"][0], "database");
    service.stop().await.unwrap();
}

#[tokio::test]
async fn losing_what_it_cannot_do_without_makes_it_unready_but_not_unwell() {
    let service = Running::start(|_| {}).await;
    let up = Arc::new(AtomicBool::new(true));
    let probe = Arc::clone(&up);
    let check = Check::required("database", move || {
        let up = probe.load(Ordering::SeqCst);
        async move { if up { Ok(()) } else { Err(Error::unavailable("refused")) } }
    });
    service.health.register(&service.tasks, check.every(Duration::from_millis(5)));
    let mut ready = service.health.watch_ready();
    for expected in [true, false, true] {
        up.store(expected, Ordering::SeqCst);
        tokio::time::timeout(PATIENCE, ready.wait_for(|ready| *ready == expected)).await.unwrap().unwrap();
        let answer = service.get("/ready").send().await.unwrap();
        assert_eq!(answer.status().is_success(), expected);
        let health = service.get("/health").send().await.unwrap();
        assert_eq!(health.status(), 200);
        let health: Value = health.json().await.unwrap();
        assert_eq!(health["status"], if expected { "healthy" } else { "degraded" });
        assert!(health["checks"][0]["age_ms"].is_u64() && health["checks"][0]["latency_ms"].is_u64());
    }
    service.stop().await.unwrap();
}

#[tokio::test]
async fn what_it_can_do_without_only_degrades_it() {
    let (health, tasks) = (Health::new("test", "1"), TaskSet::new());
    health.set_started();
    health.register(&tasks, Check::optional("cache", || async { Err(Error::unavailable("refused")) }));
    let probed = async {
        while health.report().checks[0].status == CheckStatus::Unknown {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, probed).await.unwrap();
    assert!(health.ready());
    assert_eq!(health.report().status, HealthStatus::Degraded);
    assert!(tasks.drain(PATIENCE).await);
}

#[tokio::test]
async fn a_check_past_its_deadline_counts_as_failed() {
    let (health, tasks) = (Health::new("test", "1"), TaskSet::new());
    health.set_started();
    let slow = Check::optional("cache", std::future::pending).within(Duration::from_millis(1));
    health.register(&tasks, slow);
    let failed = async {
        while health.report().checks[0].status != CheckStatus::Unhealthy {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, failed).await.unwrap();
    assert!(tasks.drain(PATIENCE).await);
}

#[tokio::test]
async fn an_unwell_process_says_so() {
    let service = Running::start(|_| {}).await;
    service.health.until_ready().await;
    service.health.set_unwell(Some("the disk is full".to_owned()));
    assert_eq!(service.get("/health").send().await.unwrap().status(), 503);
    assert_eq!(service.get("/ready").send().await.unwrap().status(), 503);
    service.health.set_unwell(None);
    assert_eq!(service.get("/health").send().await.unwrap().status(), 200);
    service.stop().await.unwrap();
}
