use std::time::Duration;

use serde_json::json;
use sker_cache::{NewEvent, RealtimeLog, RedisLogOptions, Replay, contract};
use sker_testkit::eventually;

use crate::support::{Raw, event, log, shared};

#[tokio::test]
async fn it_keeps_the_contract() {
    let config = shared();
    contract::run(|| async { log(&config, RedisLogOptions::default()) }).await;
    let small = RedisLogOptions { per_channel: 4, ..RedisLogOptions::default() };
    contract::run_bounded(log(&config, small), 4).await;
    contract::run_lost(log(&config, RedisLogOptions::default()), async |log| {
        Raw::of(&config).await.lose().await;
        log
    })
    .await;
}

#[tokio::test]
async fn replicas_share_one_log() {
    let config = shared();
    let (one, other) = (log(&config, RedisLogOptions::default()), log(&config, RedisLogOptions::default()));
    let start = one.latest("project:a").await.unwrap();
    let mut appended = Vec::new();
    for number in 0..20 {
        let to = if number % 2 == 0 { &one } else { &other };
        appended.push(to.append("project:a", event(number)).await.unwrap());
    }
    assert_eq!(other.read("project:a", start, 100).await.unwrap(), Replay::Events(appended.clone()));
    let repeated = NewEvent { kind: "another".into(), id: appended[3].id, time: sker_types::now(), data: json!(null) };
    assert_eq!(other.append("project:a", repeated).await.unwrap(), appended[3], "as it stands there");
}

#[tokio::test]
async fn zero_asks_for_all_that_there_is() {
    let log = log(&shared(), RedisLogOptions { per_channel: 3, ..RedisLogOptions::default() });
    assert_eq!(log.read("project:a", 0, 10).await.unwrap(), Replay::Events(Vec::new()));
    let mut appended = Vec::new();
    for number in 0..3 {
        appended.push(log.append("project:a", event(number)).await.unwrap());
    }
    assert_eq!(log.read("project:a", 0, 10).await.unwrap(), Replay::Events(appended));
    let latest = log.append("project:a", event(4)).await.unwrap().seq;
    assert_eq!(log.read("project:a", 0, 10).await.unwrap(), Replay::TooOld { latest }, "the first is forgotten");
}

#[tokio::test]
async fn events_of_any_content_come_back_as_they_were() {
    let log = log(&shared(), RedisLogOptions::default());
    let start = log.latest("project:\"odd\" \n*").await.unwrap();
    let mut appended = Vec::new();
    for data in [
        json!(null),
        json!("last"),
        json!({ "text": "\u{0}\u{1f600}\r\n\"", "numbers": [0, -1, u64::MAX, i64::MIN, 0.1, 1e300], "deep": [[[{}]]] }),
        json!("x".repeat(300_000)),
    ] {
        let new = NewEvent { data, ..event(0) };
        appended.push(log.append("project:\"odd\" \n*", new).await.unwrap());
    }
    assert_eq!(log.read("project:\"odd\" \n*", start, 100).await.unwrap(), Replay::Events(appended));
}

#[tokio::test]
async fn many_events_are_read_at_once() {
    let log = log(&shared(), RedisLogOptions::default());
    let start = log.latest("project:a").await.unwrap();
    let appends = (0..2_500).map(|number| log.append("project:a", event(number)));
    futures::future::try_join_all(appends).await.unwrap();
    for (limit, expected) in [(2_300, 2_300), (usize::MAX, 2_500), (0, 0), (1_000, 1_000), (1_001, 1_001)] {
        let Replay::Events(events) = log.read("project:a", start, limit).await.unwrap() else { panic!("too old") };
        assert_eq!(events.len(), expected);
        assert!(events.iter().map(|event| event.seq).eq(start + 1..=start + expected as u64));
    }
}

#[tokio::test]
async fn large_events_are_held_to_the_budget() {
    let config = shared();
    let log = log(&config, RedisLogOptions { bytes_per_channel: 100_000, ..RedisLogOptions::default() });
    let start = log.latest("project:a").await.unwrap();
    let mut last = start;
    for _ in 0..50 {
        last = log.append("project:a", NewEvent { data: json!("x".repeat(10_000)), ..event(0) }).await.unwrap().seq;
    }
    let mut raw = Raw::of(&config).await;
    let [key] = &raw.keys().await[..] else { panic!("one key per channel") };
    let used: i64 = raw.ask(&["MEMORY", "USAGE", key, "SAMPLES", "0"]).await;
    assert!(used < 150_000, "{used} bytes");
    assert_eq!(log.read("project:a", start, 10).await.unwrap(), Replay::TooOld { latest: last });
    let Replay::Events(kept) = log.read("project:a", last - 9, 10).await.unwrap() else { panic!("too old") };
    assert_eq!(kept.len(), 9);
    // One that is larger than the budget stands alone.
    let huge = log.append("project:a", NewEvent { data: json!("x".repeat(200_000)), ..event(0) }).await.unwrap();
    assert_eq!(log.read("project:a", last, 10).await.unwrap(), Replay::Events(vec![huge.clone()]));
    let fields: i64 = raw.ask(&["HLEN", key]).await;
    assert_eq!(fields, 5 + 2, "nothing is left of what is forgotten");
    // What is forgotten makes room, so that the budget is not used up for ever.
    for number in 0..5 {
        log.append("project:a", event(number)).await.unwrap();
    }
    let Replay::Events(kept) = log.read("project:a", huge.seq, 10).await.unwrap() else { panic!("too old") };
    assert_eq!(kept.len(), 5);
}

#[tokio::test]
async fn an_idle_channel_is_forgotten_and_comes_back_above_its_old_numbers() {
    let config = shared();
    let log = log(&config, RedisLogOptions { idle: Duration::from_millis(300), ..RedisLogOptions::default() });
    let start = log.latest("project:a").await.unwrap();
    let last = log.append("project:a", event(1)).await.unwrap().seq;
    let mut raw = Raw::of(&config).await;
    eventually("the channel is forgotten", async || Ok(raw.keys().await.is_empty().then_some(()))).await.unwrap();
    let seq = log.append("project:a", event(2)).await.unwrap().seq;
    assert!(seq > last);
    for after in [start, last, last + 1] {
        assert_eq!(log.read("project:a", after, 10).await.unwrap(), Replay::TooOld { latest: seq });
    }
}

#[tokio::test]
async fn a_channel_that_somebody_asks_for_is_not_forgotten() {
    let config = shared();
    let log = log(&config, RedisLogOptions::default());
    let start = log.latest("project:a").await.unwrap();
    let mut raw = Raw::of(&config).await;
    let [key] = &raw.keys().await[..] else { panic!("one key per channel") };
    let half_a_day = Duration::from_hours(12).as_millis() as i64;
    for step in 0..4 {
        // Most of a day passes.
        let _: i64 = raw.ask(&["EXPIRE", key, "60"]).await;
        match step {
            0 => assert_eq!(log.latest("project:a").await.unwrap(), start),
            1 => assert_eq!(log.latest_many(&["project:a".into()]).await.unwrap(), [start]),
            2 => assert_eq!(log.read("project:a", start, 1).await.unwrap(), Replay::Events(Vec::new())),
            _ => assert_eq!(log.append("project:a", event(1)).await.unwrap().seq, start + 1),
        }
        let left: i64 = raw.ask(&["PTTL", key]).await;
        assert!(left > half_a_day, "{left} ms left after step {step}");
    }
}

#[tokio::test]
async fn numbers_are_exact_for_a_hundred_years_of_javascript() {
    let log = log(&shared(), RedisLogOptions::default());
    let base = log.latest("project:a").await.unwrap();
    let now = sker_types::to_micros(sker_types::now()) as u64 * 2;
    assert!(now.abs_diff(base) < 2 * 3_600 * 1_000_000, "about now: {base}");
    let then = now + 2 * 1_000_000 * 60 * 60 * 24 * 365 * 80;
    assert!(then < 1 << 53);
}
