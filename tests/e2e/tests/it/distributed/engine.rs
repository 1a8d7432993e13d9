use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, anyhow};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// An OpenAI-compatible server that answers nobody before it is told to, so that tasks are certainly in the middle.
pub struct Engine {
    pub url: String,
    calls: Arc<Mutex<Vec<Value>>>,
    open: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Engine {
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/v1", listener.local_addr()?);
        let calls = Arc::<Mutex<Vec<Value>>>::default();
        let (open, is_open) = watch::channel(false);
        let heard = calls.clone();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // It ends with its client.
                tokio::spawn(answer(stream, heard.clone(), is_open.clone()));
            }
        });
        Ok(Engine { url, calls, open, serving })
    }

    /// How many calls have come so far.
    pub fn calls(&self) -> Result<usize> {
        Ok(self.calls.lock().map_err(|_| anyhow!("the engine panicked"))?.len())
    }

    /// Answers every call from now on, and those that wait.
    pub fn open(&self) {
        self.open.send_replace(true);
    }
}

/// One request of HTTP/1.1 and its answer.
async fn answer(stream: TcpStream, calls: Arc<Mutex<Vec<Value>>>, mut is_open: watch::Receiver<bool>) -> Result<()> {
    let mut stream = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse()?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    calls.lock().expect("nobody panics with it").push(serde_json::from_slice(&body).context("a call is JSON")?);
    is_open.wait_for(|open| *open).await?;
    let answer = json!({"choices": [{"message": {"content": "# Bees\n\nThey dance."}}]}).to_string();
    let head = format!("content-type: application/json\r\ncontent-length: {}\r\nconnection: close", answer.len());
    stream.write_all(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{answer}").as_bytes()).await?;
    Ok(())
}
