use std::net::SocketAddr;

use futures::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{self, Message, protocol::CloseFrame},
};

use super::soon;

/// A realtime client.
pub struct Socket(pub WebSocketStream<TcpStream>);

impl Socket {
    pub async fn open(address: SocketAddr, path: &str) -> Result<Socket, tungstenite::Error> {
        let stream = TcpStream::connect(address).await.unwrap();
        let (socket, _) = soon(client_async(format!("ws://{address}{path}"), stream)).await?;
        Ok(Socket(socket))
    }

    pub async fn say(&mut self, frame: Value) {
        self.0.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// The next frame; pings are not frames.
    pub async fn next(&mut self) -> Value {
        soon(async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Text(text))) => return serde_json::from_str(text.as_str()).unwrap(),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    other => panic!("no frame but {other:?}"),
                }
            }
        })
        .await
    }

    /// Says something and takes the answer.
    pub async fn ask(&mut self, frame: Value) -> Value {
        self.say(frame).await;
        self.next().await
    }

    /// The numbers of the next events.
    pub async fn numbers(&mut self, count: usize) -> Vec<u64> {
        let mut numbers = Vec::new();
        for _ in 0..count {
            let event = self.next().await;
            numbers.push(event["data"]["n"].as_u64().unwrap_or_else(|| panic!("no event but {event}")));
        }
        numbers
    }

    /// Everything up to the end, and how it ended.
    pub async fn rest(&mut self) -> (Vec<Value>, Option<CloseFrame>) {
        soon(async {
            let (mut frames, mut close) = (Vec::new(), None);
            while let Some(message) = self.0.next().await {
                match message {
                    Ok(Message::Text(text)) => frames.push(serde_json::from_str(text.as_str()).unwrap()),
                    Ok(Message::Close(frame)) => close = frame,
                    Ok(_) => {}
                    Err(_) => break,
                }
            }
            (frames, close)
        })
        .await
    }
}
