use std::collections::VecDeque;

use anyhow::{Context, Result, bail};
use futures::StreamExt;
use reqwest::{Method, Response};
use serde_json::Value;

use crate::{Api, PATIENCE};

/// A client of server-sent events (HTML standard, section 9.2).
pub struct EventStream {
    response: futures::stream::BoxStream<'static, reqwest::Result<Vec<u8>>>,
    buffer: Vec<u8>,
    events: VecDeque<Value>,
}

impl EventStream {
    /// Opens a stream; `last_event_id` resumes it.
    pub async fn open(api: &Api, path: &str, last_event_id: Option<&str>) -> Result<Self> {
        // The stream has no end, so the deadline of a request must not end it.
        let request = api.request(Method::GET, path).header("Accept", "text/event-stream").timeout(PATIENCE * 10);
        let request = match last_event_id {
            Some(id) => request.header("Last-Event-ID", id),
            None => request,
        };
        let response: Response = request.send().await?;
        if !response.status().is_success() {
            bail!("status {}: {}", response.status(), response.text().await.unwrap_or_default());
        }
        let content_type = response.headers().get("content-type").and_then(|value| value.to_str().ok());
        if !content_type.is_some_and(|value| value.starts_with("text/event-stream")) {
            bail!("not an event stream: {content_type:?}");
        }
        let response = response.bytes_stream().map(|piece| piece.map(|bytes| bytes.to_vec())).boxed();
        Ok(EventStream { response, buffer: Vec::new(), events: VecDeque::new() })
    }

    /// The next event: `{"id", "event", "data"}`, `data` read as JSON. Comments are passed over.
    pub async fn next(&mut self) -> Result<Value> {
        let wait = async {
            loop {
                if let Some(event) = self.events.pop_front() {
                    return Ok(event);
                }
                match self.response.next().await {
                    Some(piece) => self.buffer.extend(piece?),
                    None => bail!("the stream ended"),
                }
                self.parse()?;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.context("no event came")?
    }

    /// Takes complete blocks, which end with an empty line, out of the buffer.
    fn parse(&mut self) -> Result<()> {
        while let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
            let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
            let block = String::from_utf8(block).context("an event is not UTF-8")?;
            let field = |name: &str| -> Vec<&str> {
                let lines = block.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
                lines.map(|value| value.strip_prefix(' ').unwrap_or(value)).collect()
            };
            let data = field("data").join("\n");
            if !data.is_empty() {
                let data: Value = serde_json::from_str(&data).with_context(|| format!("not JSON: {data}"))?;
                self.events.push_back(serde_json::json!({
                    "id": field("id").first(),
                    "event": field("event").first(),
                    "data": data,
                }));
            }
        }
        Ok(())
    }
}
