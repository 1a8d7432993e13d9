use anyhow::{Context, Result, bail};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};

use crate::{Api, PATIENCE};

/// A client of the gateway's `/ws`.
pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Socket {
    /// Connects with the token in `Authorization`.
    pub async fn connect(api: &Api) -> Result<Self> {
        let mut request = format!("{}/ws", api.base().replacen("http", "ws", 1)).into_client_request()?;
        if let Some(token) = api.token() {
            request.headers_mut().insert("authorization", HeaderValue::from_str(&format!("Bearer {token}"))?);
        }
        let (stream, _) = tokio::time::timeout(PATIENCE, connect_async(request)).await??;
        Ok(Socket { stream })
    }

    /// Connects without a token, or with one in the query.
    pub async fn connect_to(url: &str) -> Result<Self> {
        let (stream, _) = tokio::time::timeout(PATIENCE, connect_async(url)).await??;
        Ok(Socket { stream })
    }

    /// Sends a frame.
    pub async fn send(&mut self, frame: &Value) -> Result<()> {
        self.stream.send(Message::text(frame.to_string())).await.context("cannot send")
    }

    /// Subscribes and waits until that is acknowledged. Events that come before the acknowledgement are answered.
    pub async fn subscribe(&mut self, channel: &str, after: Option<u64>) -> Result<Vec<Value>> {
        let mut frame = json!({"type": "subscribe", "channel": channel, "ref": "s"});
        if let Some(after) = after {
            frame["after"] = after.into();
        }
        self.send(&frame).await?;
        let mut before = Vec::new();
        loop {
            let frame = self.next().await?;
            match frame["type"].as_str() {
                Some("subscribed") if frame["channel"] == channel => return Ok(before),
                Some("error") => bail!("not subscribed to {channel}: {frame}"),
                Some("authenticated") => {}
                _ => before.push(frame),
            }
        }
    }

    /// The next JSON frame; an error when the connection ends or nothing comes.
    pub async fn next(&mut self) -> Result<Value> {
        let received = tokio::time::timeout(PATIENCE, async {
            loop {
                match self.stream.next().await {
                    Some(Ok(Message::Text(text))) => {
                        return serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"));
                    }
                    Some(Ok(Message::Close(frame))) => bail!("closed: {frame:?}"),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(error.into()),
                    None => bail!("the connection ended"),
                }
            }
        });
        received.await.context("no frame came")?
    }

    /// The next frames until one satisfies `last`, that one included. Other frames than events (`pong`, ...) are among them.
    pub async fn until(&mut self, last: impl Fn(&Value) -> bool) -> Result<Vec<Value>> {
        let mut frames = Vec::new();
        loop {
            let frame = self.next().await.with_context(|| format!("so far: {frames:#?}"))?;
            let done = last(&frame);
            frames.push(frame);
            if done {
                return Ok(frames);
            }
        }
    }
}
