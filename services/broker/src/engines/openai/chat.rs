use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use futures::{Stream, StreamExt};
use reqwest::{StatusCode, header};
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    failure::{broken, in_stream, refused},
    options::OpenAiOptions,
    sse::{SseOverflow, SseParser},
};
use crate::engines::{Failure, Usage};

/// What a model is asked.
#[derive(Clone, Debug)]
pub(super) struct Prompt {
    pub(super) system: String,
    pub(super) user: String,
    pub(super) model: Option<String>,
    /// Whether the answer should be a JSON object.
    pub(super) json: bool,
}

/// What a model answered.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) text: String,
    pub(super) usage: Usage,
}

/// The client of one server.
pub(super) struct Chat {
    client: reqwest::Client,
    options: OpenAiOptions,
    url: String,
    /// The server refused `response_format`; the prompt alone has to do.
    formatless: AtomicBool,
}

/// An error body is read up to this.
const MAX_ERROR_BYTES: usize = 64 * 1024;

impl Chat {
    pub(super) fn new(options: OpenAiOptions) -> anyhow::Result<Self> {
        // Without a process-wide provider reqwest cannot make a TLS client; when there is one already, it stays.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(10).min(options.first_token_timeout))
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("sker-broker/", env!("CARGO_PKG_VERSION")))
            .build()?;
        let url = format!("{}/chat/completions", options.base_url.as_str().trim_end_matches('/'));
        Ok(Chat { client, options, url, formatless: AtomicBool::new(false) })
    }

    pub(super) fn options(&self) -> &OpenAiOptions {
        &self.options
    }

    /// Asks; `piece` gets the text as it comes. A short rate limit is waited out.
    pub(super) async fn ask(&self, prompt: &Prompt, mut piece: impl FnMut(&str)) -> Result<Answer, Failure> {
        for _ in 0..self.options.waits {
            match self.attempt(prompt, &mut piece).await {
                Err(failure) if failure.code == "rate_limited" => match failure.retry_after_ms {
                    Some(wait) if Duration::from_millis(wait) <= self.options.longest_wait => {
                        tracing::info!(wait_ms = wait, "the provider limits our rate; waiting");
                        tokio::time::sleep(Duration::from_millis(wait)).await;
                    }
                    _ => return Err(failure),
                },
                done => return done,
            }
        }
        self.attempt(prompt, &mut piece).await
    }

    async fn attempt(&self, prompt: &Prompt, piece: &mut impl FnMut(&str)) -> Result<Answer, Failure> {
        let first = tokio::time::Instant::now() + self.options.first_token_timeout;
        let response = self.respond(prompt, first).await?;
        let status = response.status();
        if status != StatusCode::OK {
            let headers = response.headers().clone();
            let body = tokio::time::timeout(self.options.idle_timeout, short_body(response)).await.unwrap_or_default();
            return Err(refused(status, &headers, &body, self.secret()));
        }
        let content_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let whole = content_type.is_some_and(|kind| kind.starts_with("application/json"));
        let mut reading = Reading { whole, ..Reading::new(self, prompt) };
        let outcome = reading.read(response.bytes_stream(), first, piece).await;
        let usage = reading.usage();
        match outcome {
            Ok(()) => Ok(Answer { text: reading.text, usage }),
            // What a failed attempt has cost is recorded too.
            Err(failure) => Err(failure.with_usage(usage)),
        }
    }

    /// Sends the request; once more without `response_format` when that may be what a compatible server does not know.
    async fn respond(&self, prompt: &Prompt, first: tokio::time::Instant) -> Result<reqwest::Response, Failure> {
        let formatted = prompt.json && !self.formatless.load(Ordering::Relaxed);
        let response = self.send(prompt, formatted, first).await?;
        if !formatted || response.status() != StatusCode::BAD_REQUEST {
            return Ok(response);
        }
        let response = self.send(prompt, false, first).await?;
        // Refused again, it was about something else.
        if response.status() == StatusCode::OK && !self.formatless.swap(true, Ordering::Relaxed) {
            tracing::info!("the provider refuses response_format; it is not sent any more");
        }
        Ok(response)
    }

    async fn send(
        &self,
        prompt: &Prompt,
        formatted: bool,
        first: tokio::time::Instant,
    ) -> Result<reqwest::Response, Failure> {
        let late = || Failure::transient("engine_timeout", "the provider did not begin to answer in time");
        tokio::time::timeout_at(first, self.request(prompt, formatted).send())
            .await
            .map_err(|_| late())?
            .map_err(|error| broken(&error))
    }

    fn request(&self, prompt: &Prompt, formatted: bool) -> reqwest::RequestBuilder {
        let model = prompt.model.as_deref().unwrap_or(&self.options.model);
        let mut body = json!({
            "model": model,
            "messages": [
                {"role": "system", "content": prompt.system},
                {"role": "user", "content": prompt.user},
            ],
            "stream": true,
            "stream_options": {"include_usage": true},
        });
        if formatted {
            body["response_format"] = json!({"type": "json_object"});
        }
        let request = self.client.post(&self.url).header(header::ACCEPT, "text/event-stream").json(&body);
        match &self.options.api_key {
            Some(key) => request.bearer_auth(key.expose_secret()),
            None => request,
        }
    }

    fn secret(&self) -> Option<&str> {
        self.options.api_key.as_ref().map(ExposeSecret::expose_secret)
    }
}

async fn short_body(response: reqwest::Response) -> String {
    let mut body = Vec::new();
    let mut stream = response.bytes_stream();
    while let Some(Ok(bytes)) = stream.next().await {
        body.extend_from_slice(&bytes);
        if body.len() > MAX_ERROR_BYTES {
            break;
        }
    }
    String::from_utf8_lossy(&body).into_owned()
}

/// One answer as it is read.
struct Reading<'a> {
    chat: &'a Chat,
    prompt: &'a Prompt,
    /// The server answers in one piece although a stream was asked for.
    whole: bool,
    text: String,
    /// Bytes of text and of what reasoning models say to themselves before it.
    heard: usize,
    told: Option<ToldUsage>,
    /// The server said that the answer is complete.
    finished: bool,
}

impl<'a> Reading<'a> {
    fn new(chat: &'a Chat, prompt: &'a Prompt) -> Self {
        Reading { chat, prompt, whole: false, text: String::new(), heard: 0, told: None, finished: false }
    }

    async fn read(
        &mut self,
        stream: impl Stream<Item = reqwest::Result<bytes::Bytes>>,
        first: tokio::time::Instant,
        piece: &mut impl FnMut(&str),
    ) -> Result<(), Failure> {
        let options = &self.chat.options;
        let mut stream = std::pin::pin!(stream);
        let mut parser = SseParser::default();
        let mut body = Vec::new();
        let mut until = first;
        loop {
            let waiting = if self.text.is_empty() { "begin to answer" } else { "go on" };
            let bytes = match tokio::time::timeout_at(until, stream.next()).await {
                Ok(Some(Ok(bytes))) => bytes,
                Ok(None) => break,
                // All was said; only the usage or the end of the stream was still to come.
                Err(_) | Ok(Some(Err(_))) if self.finished => break,
                Err(_) => {
                    let message = format!("the provider did not {waiting} in time");
                    return Err(Failure::transient("engine_timeout", message));
                }
                Ok(Some(Err(error))) => return Err(broken(&error)),
            };
            let before = self.heard;
            if self.whole {
                body.extend_from_slice(&bytes);
                until = tokio::time::Instant::now() + options.idle_timeout;
            } else {
                let mut events = Vec::new();
                parser.feed(&bytes, |data| events.push(data)).map_err(too_long)?;
                for data in events {
                    self.event(&data, piece)?;
                }
                // Only text and thoughts count as going on: a server that sends comments for ever is not answering.
                if self.heard > before {
                    until = tokio::time::Instant::now() + options.idle_timeout;
                }
            }
            if self.text.len().max(body.len()) > options.max_output_bytes {
                return Err(Failure::permanent("engine_rejected", "the provider's answer is too long"));
            }
            if self.finished && self.told.is_some() {
                break;
            }
        }
        if self.whole {
            self.event(&String::from_utf8_lossy(&body), piece)?;
        } else {
            let mut events = Vec::new();
            parser.finish(|data| events.push(data)).map_err(too_long)?;
            for data in events {
                self.event(&data, piece)?;
            }
        }
        match self.finished || self.whole {
            true => Ok(()),
            false => Err(Failure::transient("engine_error", "the provider's answer was cut off")),
        }
    }

    fn event(&mut self, data: &str, piece: &mut impl FnMut(&str)) -> Result<(), Failure> {
        let data = data.trim();
        if data == "[DONE]" {
            self.finished = true;
            // Nothing comes after it, usage neither.
            self.told.get_or_insert_default();
            return Ok(());
        }
        if data.is_empty() {
            return Ok(());
        }
        let value: Value = serde_json::from_str(data)
            .map_err(|_| Failure::transient("engine_error", "the provider sent what cannot be read"))?;
        if let Some(error) = value.get("error").filter(|error| !error.is_null()) {
            return Err(in_stream(error, self.chat.secret()));
        }
        let Ok(event) = serde_json::from_value::<Event>(value) else { return Ok(()) };
        if let Some(usage) = event.usage {
            self.told = Some(usage);
        }
        for choice in event.choices.unwrap_or_default() {
            let message = choice.delta.or(choice.message).unwrap_or_default();
            self.heard += message.reasoning_content.or(message.reasoning).map_or(0, |thought| thought.len());
            if let Some(text) = message.content.filter(|text| !text.is_empty()) {
                self.heard += text.len();
                self.text.push_str(&text);
                piece(&text);
            }
            match choice.finish_reason.as_deref() {
                None => {}
                Some("content_filter") => {
                    return Err(Failure::permanent(
                        "engine_rejected",
                        "the provider's content filter stopped the answer",
                    ));
                }
                Some(_) => self.finished = true,
            }
        }
        Ok(())
    }

    fn usage(&self) -> Usage {
        let estimate = Usage::estimate([&*self.prompt.system, &*self.prompt.user], &self.text);
        let told = self.told.clone().unwrap_or_default();
        let usage = match (told.prompt_tokens, told.completion_tokens) {
            (None, None) => estimate,
            (prompt, completion) => Usage {
                prompt_tokens: prompt.unwrap_or(estimate.prompt_tokens),
                completion_tokens: completion.unwrap_or(estimate.completion_tokens),
                estimated: prompt.is_none() || completion.is_none(),
                cost: 0.0,
            },
        };
        let options = &self.chat.options;
        let cost = usage.prompt_tokens as f64 * options.prompt_price
            + usage.completion_tokens as f64 * options.completion_price;
        Usage { cost: cost / 1_000_000.0, ..usage }
    }
}

fn too_long(_: SseOverflow) -> Failure {
    Failure::transient("engine_error", "the provider sent what cannot be read")
}

/// A piece of a streamed answer or a whole one. Compatible servers leave out what they like.
#[derive(Deserialize)]
struct Event {
    choices: Option<Vec<Choice>>,
    usage: Option<ToldUsage>,
}

#[derive(Deserialize)]
struct Choice {
    delta: Option<Message>,
    message: Option<Message>,
    finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
struct Message {
    content: Option<String>,
    // What reasoning models think aloud, under either name; it is no part of the answer.
    reasoning_content: Option<String>,
    reasoning: Option<String>,
}

#[derive(Clone, Default, Deserialize)]
struct ToldUsage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
}
