use std::time::Duration;

use secrecy::SecretString;
use url::Url;

/// How to reach an OpenAI-compatible server.
#[derive(Clone, Debug)]
pub struct OpenAiOptions {
    /// Where `chat/completions` is, for example `https://api.openai.com/v1`.
    pub base_url: Url,
    /// Sent as bearer token; local servers need none.
    pub api_key: Option<SecretString>,
    /// The model for tasks that name none.
    pub model: String,
    /// Longest wait for the first piece of an answer.
    pub first_token_timeout: Duration,
    /// Longest wait between two pieces.
    pub idle_timeout: Duration,
    /// Longest time for a whole job.
    pub total_timeout: Duration,
    /// A 429 that asks for a wait up to this is waited out; a longer one fails the attempt.
    pub longest_wait: Duration,
    /// How often a 429 is waited out within one attempt.
    pub waits: u32,
    /// More material than this is condensed to its most central sentences first.
    pub max_input_bytes: usize,
    /// More output than this fails the attempt.
    pub max_output_bytes: usize,
    /// Price of a million prompt tokens.
    pub prompt_price: f64,
    /// Price of a million completion tokens.
    pub completion_price: f64,
}

impl OpenAiOptions {
    /// The usual limits for a server and a model.
    pub fn new(base_url: Url, model: impl Into<String>) -> Self {
        OpenAiOptions {
            base_url,
            api_key: None,
            model: model.into(),
            first_token_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(30),
            total_timeout: Duration::from_secs(600),
            longest_wait: Duration::from_secs(5),
            waits: 3,
            max_input_bytes: 200_000,
            max_output_bytes: 4 << 20,
            prompt_price: 0.0,
            completion_price: 0.0,
        }
    }
}
