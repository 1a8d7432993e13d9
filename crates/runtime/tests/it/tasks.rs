use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use sker_runtime::{Policy, TaskSet};
use tokio::sync::Notify;

use crate::support::PATIENCE;

#[tokio::test]
async fn a_task_that_fails_or_panics_is_started_again() {
    let (tasks, runs, third) = (TaskSet::new(), Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
    let (counter, reached) = (Arc::clone(&runs), Arc::clone(&third));
    tasks.spawn("loop", Policy::Restart, move |token| {
        let (run, reached) = (counter.fetch_add(1, Ordering::SeqCst), Arc::clone(&reached));
        async move {
            match run {
                0 => panic!("at first"),
                1 => Err(anyhow::anyhow!("and then")),
                _ => {
                    reached.notify_one();
                    token.cancelled().await;
                    Ok(())
                }
            }
        }
    });
    tokio::time::timeout(PATIENCE, third.notified()).await.unwrap();
    assert_eq!(tasks.names(), ["loop"]);
    assert!(tasks.drain(PATIENCE).await);
    assert!(tasks.names().is_empty());
}

#[tokio::test]
async fn a_task_that_does_not_end_is_dropped_at_the_limit() {
    let tasks = TaskSet::new();
    tasks.spawn("stubborn", Policy::Restart, |_| std::future::pending::<()>());
    tasks.spawn("polite", Policy::Restart, |token| async move { token.cancelled().await });
    assert!(!tasks.drain(Duration::from_millis(10)).await);
    assert!(tasks.names().is_empty());
}

#[tokio::test]
async fn a_task_that_ends_early_stops_a_service_that_needs_it() {
    let tasks = TaskSet::new();
    tasks.spawn("relay", Policy::StopService, |_| async {});
    let reason = tokio::time::timeout(PATIENCE, tasks.failed()).await.unwrap();
    assert_eq!(reason, "background task relay: it ended early");
}

#[tokio::test]
async fn a_task_that_panics_before_it_has_begun_stops_a_service_that_needs_it() {
    let tasks = TaskSet::new();
    tasks.spawn("relay", Policy::StopService, |_| -> std::future::Ready<()> { panic!("no such thing") });
    let reason = tokio::time::timeout(PATIENCE, tasks.failed()).await.unwrap();
    assert_eq!(reason, "background task relay: panicked: no such thing");
}

#[tokio::test]
async fn a_task_that_runs_once_is_not_started_again() {
    let (tasks, runs) = (TaskSet::new(), Arc::new(AtomicU32::new(0)));
    let counter = Arc::clone(&runs);
    tasks.spawn("import", Policy::Once, move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        async { Err(anyhow::anyhow!("no such file")) }
    });
    let ended = async {
        while !tasks.names().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.unwrap();
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}
