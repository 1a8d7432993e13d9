//! What every [`RealtimeLog`] must do, as one suite that each implementation's tests run: memory here, Redis later.
//!
//! It is test support: a broken promise panics.

use std::{collections::HashSet, future::Future};

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
    assert!(appended.windows(2).all(|pair| pair[0].seq < pair[1].seq), "numbers grow");
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
