use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use sker_client::http::{Frame, Platform};
use sker_error::Code;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{
    WebSocketStream, accept_async,
    tungstenite::{
        Message,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use crate::server::PATIENCE;

type Socket = WebSocketStream<TcpStream>;

async fn accept(listener: &TcpListener) -> Socket {
    accept_async(listener.accept().await.unwrap().0).await.unwrap()
}

async fn hear(socket: &mut Socket) -> Value {
    serde_json::from_str(socket.next().await.unwrap().unwrap().to_text().unwrap()).unwrap()
}

async fn say(socket: &mut Socket, frame: Value) {
    socket.send(Message::text(frame.to_string())).await.unwrap();
}

fn event(seq: u64) -> Value {
    let id = sker_types::new_id();
    json!({"type": "ai_task.progress", "id": id, "seq": seq, "channel": "task:1", "time": "2026-01-01T00:00:00Z", "data": {}})
}

#[tokio::test]
async fn a_lost_connection_resumes_after_the_last_event() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let platform = Platform::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let server = tokio::spawn(async move {
        let mut socket = accept(&listener).await;
        assert_eq!(hear(&mut socket).await, json!({"type": "subscribe", "channel": "task:1"}));
        say(&mut socket, json!({"type": "subscribed", "channel": "task:1"})).await;
        say(&mut socket, event(41)).await;
        drop(socket);
        let mut socket = accept(&listener).await;
        assert_eq!(hear(&mut socket).await, json!({"type": "subscribe", "channel": "task:1", "after": 41}));
        say(&mut socket, event(42)).await;
        say(&mut socket, json!({"type": "reset", "channel": "task:1"})).await;
        let close = CloseFrame { code: CloseCode::from(4401), reason: "token expired".into() };
        socket.close(Some(close)).await.unwrap();
    });
    let mut events = platform.events().await.unwrap();
    events.subscribe("task:1", None).await.unwrap();
    let mut next = async || tokio::time::timeout(PATIENCE, events.next()).await.unwrap();
    assert!(matches!(next().await.unwrap(), Frame::Other(frame) if frame["type"] == "subscribed"));
    for seq in [41, 42] {
        assert!(matches!(next().await.unwrap(), Frame::Event(event) if event.seq == seq));
    }
    assert_eq!(next().await.unwrap(), Frame::Reset("task:1".to_owned()));
    assert_eq!(next().await.unwrap_err().code(), Code::Unauthenticated);
    server.await.unwrap();
}

#[tokio::test]
async fn a_caller_who_only_glances_gets_back_to_every_channel() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let platform = Platform::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let server = tokio::spawn(async move {
        let mut socket = accept(&listener).await;
        for channel in ["task:1", "task:2"] {
            assert_eq!(hear(&mut socket).await, json!({"type": "subscribe", "channel": channel}));
        }
        // Nothing has happened on the second one since it was subscribed, and on the first one there was a gap.
        say(&mut socket, json!({"type": "subscribed", "channel": "task:2", "latest": 7})).await;
        say(&mut socket, json!({"type": "reset", "channel": "task:1", "latest": 40})).await;
        drop(socket);
        let mut socket = accept(&listener).await;
        for (channel, after) in [("task:1", 40), ("task:2", 7)] {
            assert_eq!(hear(&mut socket).await, json!({"type": "subscribe", "channel": channel, "after": after}));
        }
        say(&mut socket, event(41)).await;
        socket
    });
    let mut events = platform.events().await.unwrap();
    events.subscribe("task:1", None).await.unwrap();
    events.subscribe("task:2", None).await.unwrap();
    let heard = async {
        loop {
            let glance = tokio::time::timeout(std::time::Duration::from_millis(1), events.next()).await;
            if let Ok(Frame::Event(event)) = glance.unwrap_or(Ok(Frame::Other(Value::Null))) {
                return event.seq;
            }
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, heard).await.unwrap(), 41);
    server.await.unwrap();
}

#[tokio::test]
async fn a_refused_socket_says_why() {
    let (address, mut requests) = crate::server::answers(vec![crate::server::answer("401 Unauthorized", "", "")]).await;
    let platform = Platform::new(&format!("http://{address}")).unwrap();
    platform.set_token("t-1");
    assert_eq!(platform.events().await.map(drop).unwrap_err().code(), Code::Unauthenticated);
    let request = requests.recv().await.unwrap();
    assert!(request.starts_with("GET /ws ") && request.contains("Bearer t-1"), "{request}");
}
