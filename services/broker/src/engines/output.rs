use serde_json::{Map, Value, json};

use super::text::estimate_tokens;

/// What an attempt used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Tokens read.
    pub prompt_tokens: u64,
    /// Tokens written.
    pub completion_tokens: u64,
    /// True when counted by us and not by a provider.
    pub estimated: bool,
    /// In the provider's currency; 0 for local engines.
    pub cost: f64,
}

impl Usage {
    /// An estimate from the texts themselves.
    pub fn estimate<'a>(prompt: impl IntoIterator<Item = &'a str>, completion: &str) -> Self {
        Usage {
            prompt_tokens: prompt.into_iter().map(estimate_tokens).sum(),
            completion_tokens: estimate_tokens(completion),
            estimated: true,
            cost: 0.0,
        }
    }

    /// The sum of two attempts; an estimate when either is one.
    pub fn plus(self, other: Usage) -> Usage {
        Usage {
            prompt_tokens: self.prompt_tokens + other.prompt_tokens,
            completion_tokens: self.completion_tokens + other.completion_tokens,
            estimated: self.estimated || other.estimated,
            cost: self.cost + other.cost,
        }
    }
}

/// The result of a job.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// `output_data`, complete: the fields of the task's type, `engine`, `generative` and `usage`.
    pub data: Map<String, Value>,
    /// What it used.
    pub usage: Usage,
}

impl Output {
    /// Completes `fields` with who made it and what it used.
    pub fn new(mut fields: Map<String, Value>, engine: &str, generative: bool, usage: Usage) -> Self {
        fields.insert("engine".to_owned(), json!(engine));
        fields.insert("generative".to_owned(), json!(generative));
        fields.insert(
            "usage".to_owned(),
            json!({
                "prompt_tokens": usage.prompt_tokens,
                "completion_tokens": usage.completion_tokens,
                "estimated": usage.estimated,
            }),
        );
        Output { data: fields, usage }
    }
}
