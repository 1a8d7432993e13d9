use std::time::Duration;

use futures::SinkExt;
use serde_json::json;
use sker_cache::MemoryLogOptions;
use sker_types::{Role, new_id};
use tokio_tungstenite::tungstenite::{self, Message};

use crate::support::{Platform, Socket, soon};

#[tokio::test]
async fn a_socket_tells_what_happens_in_the_frames_of_the_contract() {
    let platform = Platform::start().await;
    let mut socket = platform.socket(&platform.token(Role::User)).await;
    let subscribed = socket.ask(json!({"type": "subscribe", "channel": "project:p", "ref": 1})).await;
    assert_eq!(subscribed["type"], "subscribed");
    assert_eq!((&subscribed["channel"], &subscribed["ref"]), (&json!("project:p"), &json!(1)));
    assert!(subscribed.get("seq").is_none(), "only events have a seq");
    let happened = platform.happen("project:p", 7).await;
    platform.happen("project:other", 8).await;
    let event = socket.next().await;
    assert_eq!(event, serde_json::to_value(&happened).unwrap());
    let mut members: Vec<&String> = event.as_object().unwrap().keys().collect();
    members.sort();
    assert_eq!(members, ["channel", "data", "id", "seq", "time", "type"]);
    let gone = socket.ask(json!({"type": "unsubscribe", "channel": "project:p", "ref": "r"})).await;
    assert_eq!(gone, json!({"type": "unsubscribed", "channel": "project:p", "ref": "r"}));
    platform.happen("project:p", 9).await;
    assert_eq!(socket.ask(json!({"type": "ping"})).await, json!({"type": "pong"}));
}

#[tokio::test]
async fn the_token_comes_in_a_header_in_the_query_or_in_the_first_frame() {
    let platform = Platform::start().await;
    let user = new_id();
    let token = platform.token_of(user, Role::User);
    platform.socket(&token).await;
    let mut socket = Socket::open(platform.address, "/ws").await.unwrap();
    let welcome = socket.ask(json!({"type": "auth", "token": token})).await;
    assert_eq!((&welcome["type"], &welcome["user_id"]), (&json!("authenticated"), &json!(user.to_string())));
    for path in ["/ws?token=nonsense", "/ws?token="] {
        match Socket::open(platform.address, path).await.map(|_| ()) {
            Err(tungstenite::Error::Http(response)) => assert_eq!(response.status(), 401),
            other => panic!("{other:?}"),
        }
    }
    let plain = platform.get("/ws", None).await;
    assert_eq!((plain.status.as_u16(), plain.code().as_str()), (400, "invalid_request"));
}

#[tokio::test]
async fn a_socket_without_a_good_token_is_closed_with_4401() {
    let platform = Platform::with(&[("realtime.auth_timeout_ms", "50")]).await;
    for first in [json!({"type": "auth", "token": "bad"}), json!({"type": "ping"})] {
        let mut socket = Socket::open(platform.address, "/ws").await.unwrap();
        socket.say(first).await;
        let (frames, close) = socket.rest().await;
        assert_eq!((&frames[0]["type"], &frames[0]["code"]), (&json!("error"), &json!("unauthenticated")));
        assert_eq!(u16::from(close.unwrap().code), 4401);
    }
    let mut silent = Socket::open(platform.address, "/ws").await.unwrap();
    assert_eq!(u16::from(silent.rest().await.1.unwrap().code), 4401);
}

#[tokio::test]
async fn an_expired_token_closes_its_socket_unless_it_was_renewed() {
    let platform = Platform::start().await;
    let user = new_id();
    let short = platform.token_for(user, Role::User, Duration::from_secs(2));
    let mut expiring = platform.socket(&short).await;
    let mut renewed = platform.socket(&short).await;
    let stranger = platform.token(Role::User);
    let refused = renewed.ask(json!({"type": "auth", "token": stranger, "ref": "x"})).await;
    assert_eq!((&refused["code"], &refused["ref"]), (&json!("forbidden"), &json!("x")));
    let welcome = renewed.ask(json!({"type": "auth", "token": platform.token_of(user, Role::User)})).await;
    assert_eq!(welcome["type"], "authenticated");
    let (frames, close) = expiring.rest().await;
    assert_eq!(frames.last().unwrap()["code"], "unauthenticated");
    assert_eq!(u16::from(close.unwrap().code), 4401);
    assert_eq!(renewed.ask(json!({"type": "ping"})).await["type"], "pong");
}

#[tokio::test]
async fn what_happened_while_a_client_was_away_comes_once_and_in_order() {
    let platform = Platform::start().await;
    let token = platform.token(Role::User);
    let first = platform.happen("task:t", 1).await;
    for number in 2..=600 {
        platform.log_only("task:t", number).await;
    }
    let mut socket = platform.socket(&token).await;
    let frame = json!({"type": "subscribe", "channel": "task:t", "after": first.seq});
    assert_eq!(socket.ask(frame).await["type"], "subscribed");
    platform.happen("task:t", 601).await;
    assert_eq!(socket.numbers(600).await, (2..=601).collect::<Vec<_>>());
}

#[tokio::test]
async fn lost_repeated_and_reordered_messages_change_nothing() {
    let platform = Platform::start().await;
    let mut socket = platform.socket(&platform.token(Role::User)).await;
    socket.ask(json!({"type": "subscribe", "channel": "project:p"})).await;
    let one = platform.log_only("project:p", 1).await;
    let two = platform.log_only("project:p", 2).await;
    let three = platform.log_only("project:p", 3).await;
    for event in [&two, &one, &two, &three, &three] {
        platform.tell(event).await;
    }
    platform.log_only("project:p", 4).await;
    platform.happen("project:p", 5).await;
    assert_eq!(socket.numbers(5).await, [1, 2, 3, 4, 5]);
    assert_eq!(socket.ask(json!({"type": "ping"})).await["type"], "pong");
}

#[tokio::test]
async fn a_message_that_is_lost_and_followed_by_none_arrives_all_the_same() {
    let platform = Platform::with(&[("realtime.calm_look_ms", "20")]).await;
    let mut socket = platform.socket(&platform.token(Role::User)).await;
    socket.ask(json!({"type": "subscribe", "channel": "project:p"})).await;
    platform.log_only("project:p", 1).await;
    assert_eq!(socket.numbers(1).await, [1]);
}

#[tokio::test]
async fn a_client_that_was_away_too_long_is_told_to_read_the_state_anew() {
    let options = MemoryLogOptions { per_channel: 3, ..MemoryLogOptions::default() };
    let platform = Platform::deaf(&[], options).await;
    platform.registry.speak();
    soon(platform.health.until_ready()).await;
    let first = platform.happen("project:p", 1).await;
    for number in 2..=10 {
        platform.happen("project:p", number).await;
    }
    let mut socket = platform.socket(&platform.token(Role::User)).await;
    for after in [first.seq, first.seq + 1_000_000] {
        let frame = json!({"type": "subscribe", "channel": "project:p", "after": after});
        assert_eq!(socket.ask(frame).await["type"], "subscribed");
        let reset = socket.next().await;
        assert_eq!((&reset["type"], &reset["channel"]), (&json!("reset"), &json!("project:p")));
    }
    platform.happen("project:p", 11).await;
    assert_eq!(socket.numbers(1).await, [11]);
}

#[tokio::test]
async fn a_client_hears_its_own_channel_by_the_name_it_uses() {
    let platform = Platform::start().await;
    let user = new_id();
    let mut socket = platform.socket(&platform.token_of(user, Role::User)).await;
    let subscribed = socket.ask(json!({"type": "subscribe", "channel": "user:me"})).await;
    assert_eq!(subscribed["channel"], "user:me");
    platform.happen(&format!("user:{user}"), 1).await;
    platform.happen(&format!("user:{}", new_id()), 2).await;
    let event = socket.next().await;
    assert_eq!((&event["channel"], &event["data"]["n"]), (&json!("user:me"), &json!(1)));
    assert_eq!(socket.ask(json!({"type": "ping"})).await["type"], "pong");
}

#[tokio::test]
async fn nobody_listens_to_what_is_not_theirs() {
    let platform = Platform::start().await;
    let mut socket = platform.socket(&platform.token(Role::User)).await;
    let refused = socket.ask(json!({"type": "subscribe", "channel": "project:secret", "ref": "r"})).await;
    assert_eq!(
        (&refused["type"], &refused["code"], &refused["ref"]),
        (&json!("error"), &json!("not_found"), &json!("r"))
    );
    platform.happen("project:secret", 1).await;
    assert_eq!(socket.ask(json!({"type": "ping"})).await["type"], "pong");
}

#[tokio::test]
async fn tasks_are_submitted_and_cancelled_over_the_socket() {
    let platform = Platform::start().await;
    let user = new_id();
    let mut socket = platform.socket(&platform.token_of(user, Role::User)).await;
    let data = json!({"project_id": "p", "type": "semantic_analysis", "input_data": {"inputs": ["x"]}});
    let accepted = socket.ask(json!({"type": "ai_task.submit", "ref": "a", "data": data})).await;
    assert_eq!((&accepted["type"], &accepted["ref"]), (&json!("ai_task.accepted"), &json!("a")));
    assert!(accepted["id"].is_string());
    let (who, request) = platform.store.tasks.lock().unwrap()[0].clone();
    assert_eq!((who, request.project_id.as_str()), (user.to_string(), "p"));
    assert_eq!(serde_json::from_str::<serde_json::Value>(&request.body_json).unwrap(), data);
    let refused = socket.ask(json!({"type": "ai_task.submit", "ref": "b", "data": {}})).await;
    assert_eq!((&refused["code"], &refused["ref"]), (&json!("not_found"), &json!("b")));
    let running = "0190a5b0-0000-7000-8000-000000000001";
    let answer = socket.ask(json!({"type": "ai_task.cancel", "id": running, "ref": "c"})).await;
    assert_eq!((&answer["type"], &answer["id"]), (&json!("ai_task.accepted"), &json!(running)));
    let finished = "0190a5b0-0000-7000-8000-000000000000";
    let answer = socket.ask(json!({"type": "ai_task.cancel", "id": finished, "ref": "d"})).await;
    assert_eq!((&answer["code"], &answer["ref"]), (&json!("conflict"), &json!("d")));
}

#[tokio::test]
async fn a_bad_frame_is_answered_and_ends_nothing() {
    let platform = Platform::with(&[("realtime.max_subscriptions", "2")]).await;
    let mut socket = platform.socket(&platform.token(Role::User)).await;
    for (frame, code) in [
        (json!({"type": "dance"}), "validation_failed"),
        (json!({"type": "subscribe", "channel": "project:p", "colour": 1}), "unknown_field"),
        (json!([1]), "invalid_request"),
    ] {
        assert_eq!(socket.ask(frame).await["code"], code);
    }
    socket.0.send(Message::text("{")).await.unwrap();
    assert_eq!(socket.next().await["code"], "invalid_request");
    for channel in ["project:1", "project:2", "project:1"] {
        assert_eq!(socket.ask(json!({"type": "subscribe", "channel": channel})).await["type"], "subscribed");
    }
    assert_eq!(socket.ask(json!({"type": "subscribe", "channel": "project:3"})).await["code"], "conflict");
}

#[tokio::test]
async fn a_message_that_is_too_large_ends_the_socket() {
    let platform = Platform::with(&[("realtime.max_message_bytes", "2000")]).await;
    let mut socket = platform.socket(&platform.token(Role::User)).await;
    socket.0.send(Message::text("x".repeat(3_000))).await.unwrap();
    let (frames, close) = socket.rest().await;
    assert_eq!(frames[0]["code"], "payload_too_large");
    assert_eq!(u16::from(close.unwrap().code), 1009);
}

#[tokio::test]
async fn a_slow_client_is_closed_with_a_reason_and_slows_nobody() {
    let platform = Platform::with(&[("realtime.queue", "64"), ("realtime.close_ms", "60000")]).await;
    let token = platform.token(Role::User);
    let (mut slow, mut quick) = (platform.socket(&token).await, platform.socket(&token).await);
    for socket in [&mut slow, &mut quick] {
        socket.ask(json!({"type": "subscribe", "channel": "project:p"})).await;
    }
    // Far more than what the connection's buffers hold, and the slow client takes none of it.
    let filler = "x".repeat(100_000);
    for number in 1..=200_u64 {
        platform.happen_with("project:p", json!({"n": number, "filler": filler})).await;
        assert_eq!(quick.numbers(1).await, [number]);
    }
    let (frames, close) = slow.rest().await;
    let last = frames.last().unwrap();
    assert_eq!((&last["type"], &last["code"]), (&json!("error"), &json!("unavailable")));
    assert_eq!(u16::from(close.unwrap().code), 1013);
    assert!(frames.len() < 200);
}

#[tokio::test]
async fn a_silent_client_is_asked_and_then_let_go() {
    let times = [("realtime.ping_ms", "100"), ("realtime.idle_ms", "2000"), ("realtime.close_ms", "60000")];
    let platform = Platform::with(&times).await;
    let token = platform.token(Role::User);
    let mut alive = platform.socket(&token).await;
    let mut silent = platform.socket(&token).await;
    // One that does not read answers no ping either. It is let go of without its help.
    soon(async {
        while !platform
            .get("/metrics", None)
            .await
            .text()
            .contains("gateway_realtime_listeners{service=\"gateway\"} 1\n")
        {
            assert_eq!(alive.ask(json!({"type": "ping"})).await["type"], "pong");
        }
    })
    .await;
    let (frames, close) = silent.rest().await;
    assert_eq!(frames.last().unwrap()["code"], "timeout");
    assert_eq!(u16::from(close.unwrap().code), 4408);
}

#[tokio::test]
async fn sockets_survive_changes_of_routes() {
    let platform = Platform::start().await;
    let mut socket = platform.socket(&platform.token(Role::User)).await;
    socket.ask(json!({"type": "subscribe", "channel": "project:p"})).await;
    let upstream = crate::support::Upstream::saying("s").await;
    let instance = platform.serve("s", upstream.address, json!([{"path": "/s", "auth": "none"}])).await;
    platform.registry.remove(&instance.instance_id);
    platform.registry.set_away(true);
    platform.happen("project:p", 1).await;
    assert_eq!(socket.numbers(1).await, [1]);
}
