//! What every [`RealtimeLog`] and every [`Cache`](crate::Cache) must do, as suites that each implementation's tests run.
//!
//! It is test support: a broken promise panics.

mod cache;

use std::{collections::HashSet, future::Future};

pub use cache::run_cache;
use serde_json::json;
use sker_types::Uuid;

use crate::{NewEvent, RealtimeLog, Replay};

/// Runs the suite. `make` gives a log, a fresh one or one that is in use: the suite takes channels nobody has.
pub async fn run<L, Make, Made>(make: Make)
where
    L: RealtimeLog,
    Make: Fn() -> Made,
    Made: Future<Output = L>,
{
    events_keep_their_order(make().await).await;
    a_repeated_id_adds_nothing(make().await).await;
    the_same_id_may_stand_in_two_channels(make().await).await;
    a_reader_gets_what_it_has_not_seen(make().await).await;
    a_channel_nobody_wrote_to_is_empty(make().await).await;
    writers_at_the_same_time_get_numbers_of_their_own(make().await).await;
    a_number_from_the_future_is_refused(make().await).await;
    many_channels_are_asked_for_at_once(make().await).await;
}

/// What is true of a log that keeps `kept` events per channel.
pub async fn run_bounded(log: impl RealtimeLog, kept: u64) {
    let channel = fresh_channel();
    let start = log.latest(&channel).await.expect("the log answers");
    let mut appended = Vec::new();
    for number in 0..2 * kept {
        appended.push(log.append(&channel, event(number)).await.expect("the log takes events").seq);
    }
    let latest = appended[appended.len() - 1];
    let (forgotten, there) = appended.split_at(kept as usize);
    // Whoever has seen the last of the forgotten ones misses nothing.
    assert_eq!(read(&log, &channel, forgotten[forgotten.len() - 1], 2 * kept as usize).await, there);
    for seen in forgotten[..forgotten.len() - 1].iter().chain([&start]) {
        let replay = log.read(&channel, *seen, 10).await.expect("the log answers");
        assert_eq!(replay, Replay::TooOld { latest }, "after {seen}");
    }
    assert_eq!(log.latest(&channel).await.expect("the log answers"), latest);
}

/// What is true of a log that loses everything it has: `lose` takes a log, makes it forget and gives it back, or a new one
/// of which the same clients will read.
pub async fn run_lost<L: RealtimeLog, Lost: Future<Output = L>>(log: L, lose: impl Fn(L) -> Lost) {
    let (channel, quiet) = (fresh_channel(), fresh_channel());
    let before_any = log.latest(&quiet).await.expect("the log answers");
    let mut log = log;
    let mut seen = vec![log.latest(&channel).await.expect("the log answers")];
    for _ in 0..3 {
        for number in 0..5 {
            let seq = log.append(&channel, event(number)).await.expect("the log takes events").seq;
            assert!(seen.iter().all(|seen| seq > *seen), "a number fell");
            seen.push(seq);
        }
        log = lose(log).await;
        let latest = log.latest(&channel).await.expect("the log answers");
        assert!(latest >= seen[seen.len() - 1], "the last number fell");
        for after in &seen {
            let replay = log.read(&channel, *after, 100).await.expect("the log answers");
            assert_eq!(replay, Replay::TooOld { latest }, "after {after}");
        }
    }
    log.append(&quiet, event(0)).await.expect("the log takes events");
    let replay = log.read(&quiet, before_any, 100).await.expect("the log answers");
    assert!(matches!(replay, Replay::TooOld { .. }), "what came before the loss is not known");
}

fn fresh_channel() -> String {
    format!("project:{}", Uuid::new_v4())
}

fn event(number: u64) -> NewEvent {
    NewEvent {
        kind: "node.created".to_owned(),
        id: sker_types::new_id(),
        time: sker_types::now(),
        data: json!({ "n": number }),
    }
}

async fn read(log: &impl RealtimeLog, channel: &str, after: u64, limit: usize) -> Vec<u64> {
    match log.read(channel, after, limit).await.expect("the log answers") {
        Replay::Events(events) => events.iter().map(|event| event.seq).collect(),
        Replay::TooOld { latest } => panic!("{channel} after {after} is too old; latest is {latest}"),
    }
}

async fn events_keep_their_order(log: impl RealtimeLog) {
    let channel = fresh_channel();
    let start = log.latest(&channel).await.expect("the log answers");
    let mut appended = Vec::new();
    for number in 0..20 {
        let new = event(number);
        let kept = log.append(&channel, new.clone()).await.expect("the log takes events");
        assert_eq!((&kept.kind, kept.id, kept.time, &kept.data), (&new.kind, new.id, new.time, &new.data));
        assert_eq!(kept.channel, channel);
        appended.push(kept);
    }
    assert!(appended[0].seq > start, "the first event comes after the start");
    // A reader that counts on the next number being one higher reads the log far less often (the gateway's cursor).
    assert!(appended.windows(2).all(|pair| pair[0].seq + 1 == pair[1].seq), "numbers follow on one another");
    assert!(appended[19].seq < 1 << 53, "a number fits a JSON number");
    assert_eq!(log.latest(&channel).await.expect("the log answers"), appended[19].seq);
    assert_eq!(log.read(&channel, start, 100).await.expect("the log answers"), Replay::Events(appended));
}

async fn a_repeated_id_adds_nothing(log: impl RealtimeLog) {
    let channel = fresh_channel();
    let start = log.latest(&channel).await.expect("the log answers");
    let new = event(1);
    let first = log.append(&channel, new.clone()).await.expect("the log takes events");
    let second = log.append(&channel, event(2)).await.expect("the log takes events");
    let repeated = log.append(&channel, new).await.expect("the log takes events");
    assert_eq!(repeated, first);
    assert_eq!(read(&log, &channel, start, 10).await, [first.seq, second.seq]);
}

async fn the_same_id_may_stand_in_two_channels(log: impl RealtimeLog) {
    let (one, other) = (fresh_channel(), fresh_channel());
    let new = event(1);
    let in_one = log.append(&one, new.clone()).await.expect("the log takes events");
    let in_other = log.append(&other, new).await.expect("the log takes events");
    assert_eq!(in_one.id, in_other.id);
    assert_eq!((in_one.channel, in_other.channel), (one, other));
}

async fn a_reader_gets_what_it_has_not_seen(log: impl RealtimeLog) {
    let channel = fresh_channel();
    let mut seen = log.latest(&channel).await.expect("the log answers");
    let mut appended = Vec::new();
    for number in 0..10 {
        appended.push(log.append(&channel, event(number)).await.expect("the log takes events").seq);
    }
    let mut pieces = Vec::new();
    loop {
        let piece = read(&log, &channel, seen, 3).await;
        assert!(piece.len() <= 3, "the limit is kept");
        let Some(last) = piece.last() else { break };
        seen = *last;
        pieces.extend(piece);
    }
    assert_eq!(pieces, appended);
}

async fn a_channel_nobody_wrote_to_is_empty(log: impl RealtimeLog) {
    let channel = fresh_channel();
    let latest = log.latest(&channel).await.expect("the log answers");
    assert!(read(&log, &channel, latest, 10).await.is_empty());
}

async fn writers_at_the_same_time_get_numbers_of_their_own(log: impl RealtimeLog) {
    let channel = fresh_channel();
    let start = log.latest(&channel).await.expect("the log answers");
    let appends = (0..50).map(|number| log.append(&channel, event(number)));
    let appended = futures::future::try_join_all(appends).await.expect("the log takes events");
    let numbers: HashSet<u64> = appended.iter().map(|event| event.seq).collect();
    assert_eq!(numbers.len(), 50);
    assert_eq!(read(&log, &channel, start, 100).await.len(), 50);
}

async fn a_number_from_the_future_is_refused(log: impl RealtimeLog) {
    let channel = fresh_channel();
    let seq = log.append(&channel, event(1)).await.expect("the log takes events").seq;
    let replay = log.read(&channel, seq + 1_000, 10).await.expect("the log answers");
    assert_eq!(replay, Replay::TooOld { latest: seq });
}

async fn many_channels_are_asked_for_at_once(log: impl RealtimeLog) {
    // More than any implementation asks for at a time.
    let channels: Vec<String> = (0..1_100).map(|_| fresh_channel()).collect();
    for channel in &channels[..10] {
        log.append(channel, event(1)).await.expect("the log takes events");
    }
    let many = log.latest_many(&channels).await.expect("the log answers");
    assert_eq!(many.len(), channels.len());
    for index in [0, 9, 10, 499, 500, 1_000, 1_099] {
        assert_eq!(many[index], log.latest(&channels[index]).await.expect("the log answers"));
    }
    // Whoever begins there misses nothing.
    let first = log.append(&channels[600], event(1)).await.expect("the log takes events").seq;
    assert_eq!(read(&log, &channels[600], many[600], 10).await, [first]);
    assert!(log.latest_many(&[]).await.expect("the log answers").is_empty());
}
