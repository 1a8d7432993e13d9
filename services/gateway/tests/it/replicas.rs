//! Several gateways of one platform.

use std::sync::Arc;

use serde_json::{Value, json};
use sker_types::Role;

use crate::support::{Platform, Socket, soon};

/// Says what was missed after `seen`, and takes events until the last one.
pub async fn go_on(socket: &mut Socket, channel: &str, seen: &mut Vec<Value>, last: u64) {
    let after = seen.last().map(|event| event["seq"].clone());
    let answer = socket.ask(json!({"type": "subscribe", "channel": channel, "after": after})).await;
    assert_eq!(answer["type"], "subscribed");
    while seen.last().is_none_or(|event| event["data"]["n"] != last) {
        seen.push(socket.next().await);
    }
}

pub fn numbers(events: &[Value]) -> Vec<u64> {
    events.iter().map(|event| event["data"]["n"].as_u64().unwrap_or_else(|| panic!("no event but {event}"))).collect()
}

async fn a_gateway_goes(is_killed: bool) {
    const LAST: u64 = 400;
    let first = Platform::start().await;
    let second = Arc::new(first.beside().await);
    let token = first.token(Role::User);
    let mut socket = first.socket(&token).await;
    socket.ask(json!({"type": "subscribe", "channel": "project:p"})).await;
    let producing = tokio::spawn({
        let platform = Arc::clone(&second);
        async move {
            for number in 1..=LAST {
                platform.happen("project:p", number).await;
                tokio::task::yield_now().await;
            }
        }
    });
    let mut seen = Vec::new();
    while seen.len() < 50 {
        seen.push(socket.next().await);
    }
    if is_killed {
        first.running.abort();
        seen.extend(socket.rest().await.0);
    } else {
        first.stop.cancel();
        let (rest, close) = socket.rest().await;
        seen.extend(rest);
        assert_eq!(u16::from(close.expect("is told").code), 1001);
    }
    let mut socket = second.socket(&token).await;
    soon(go_on(&mut socket, "project:p", &mut seen, LAST)).await;
    assert_eq!(numbers(&seen), (1..=LAST).collect::<Vec<_>>());
    producing.await.unwrap();
}

#[tokio::test]
async fn a_client_of_a_gateway_that_stops_goes_on_at_another_with_nothing_missed_or_repeated() {
    a_gateway_goes(false).await;
}

#[tokio::test]
async fn a_client_of_a_gateway_that_was_killed_goes_on_at_another_with_nothing_missed_or_repeated() {
    a_gateway_goes(true).await;
}

#[tokio::test]
async fn without_the_log_events_that_follow_on_one_another_still_come_and_others_wait_for_it() {
    let platform = Platform::with(&[("realtime.look_ms", "20")]).await;
    let mut socket = platform.socket(&platform.token(Role::User)).await;
    socket.ask(json!({"type": "subscribe", "channel": "project:p"})).await;
    let first = platform.happen("project:p", 1).await;
    assert_eq!(socket.numbers(1).await, [1]);

    platform.log_cut.store(true, std::sync::atomic::Ordering::SeqCst);
    platform.happen("project:p", 2).await;
    assert_eq!(socket.numbers(1).await, [2], "nothing is missing before it");
    for frame in [
        json!({"type": "subscribe", "channel": "project:q", "ref": 1}),
        json!({"type": "subscribe", "channel": "project:q", "after": 7, "ref": 1}),
        json!({"type": "subscribe", "channel": "project:p", "after": first.seq, "ref": 1}),
    ] {
        let refused = socket.ask(frame).await;
        assert_eq!(
            (&refused["type"], &refused["code"], &refused["ref"]),
            (&json!("error"), &json!("unavailable"), &json!(1))
        );
    }
    platform.log_only("project:p", 3).await;
    platform.happen("project:p", 4).await;
    assert_eq!(socket.ask(json!({"type": "ping"})).await["type"], "pong", "the socket stays, and nothing is left out");

    platform.log_cut.store(false, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(socket.numbers(2).await, [3, 4]);
    platform.happen("project:p", 5).await;
    assert_eq!(socket.numbers(1).await, [5]);
}
