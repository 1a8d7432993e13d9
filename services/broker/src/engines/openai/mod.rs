//! Any OpenAI-compatible server: chat completions, streamed.
//!
//! The client is our own, because servers that call themselves compatible leave out fields: every field of an answer is
//! optional here. Dropping [`Engine::run`] closes the connection, which is how such servers learn that nobody waits.

mod chat;
mod condense;
mod draft;
mod failure;
mod json;
mod options;
mod prompts;
mod sse;
mod work;

use std::sync::Arc;

use async_trait::async_trait;
pub use json::lenient_object;
pub use options::OpenAiOptions;
pub use sse::{MAX_EVENT_BYTES, SseOverflow, SseParser};
use tokio_util::sync::CancellationToken;

use self::{chat::Chat, work::Work};
use super::{Engine, EngineError, Failure, Job, Output, Sink};

/// An OpenAI-compatible server as an engine. Cheap to clone.
#[derive(Clone)]
pub struct OpenAiEngine {
    chat: Arc<Chat>,
}

impl OpenAiEngine {
    /// An engine for the server of `options`.
    ///
    /// # Errors
    /// The HTTP client cannot be made: no root certificates, for example.
    pub fn new(options: OpenAiOptions) -> anyhow::Result<Self> {
        Ok(OpenAiEngine { chat: Arc::new(Chat::new(options)?) })
    }
}

#[async_trait]
impl Engine for OpenAiEngine {
    fn name(&self) -> &'static str {
        "openai"
    }

    async fn run(&self, job: Job, sink: Arc<dyn Sink>, cancel: CancellationToken) -> Result<Output, EngineError> {
        let limit = self.chat.options().total_timeout;
        let work = Work::new(&self.chat, job, &*sink);
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(EngineError::Cancelled),
            done = tokio::time::timeout(limit, work.run()) => match done {
                Ok(output) => output.map_err(EngineError::from),
                Err(_) => Err(Failure::transient("engine_timeout", "the engine did not finish in time").into()),
            },
        }
    }
}
