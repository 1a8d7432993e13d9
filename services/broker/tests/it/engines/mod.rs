//! The engines, through their trait.

mod large;
mod local;
mod openai;
mod properties;
mod quality;

use std::sync::{Arc, Mutex};

use serde_json::{Map, Value};
use sker_broker::engines::{Engine, EngineError, Job, Material, Output, Sink, TaskKind};
use tokio_util::sync::CancellationToken;

/// Keeps what an engine says on the way.
#[derive(Default)]
pub struct Recorder {
    pub text: Mutex<String>,
    pub percents: Mutex<Vec<u8>>,
}

impl Sink for Recorder {
    fn progress(&self, percent: u8, _message: &str) {
        self.percents.lock().unwrap().push(percent);
    }

    fn chunk(&self, text: &str) {
        self.text.lock().unwrap().push_str(text);
    }
}

pub fn job(kind: TaskKind, texts: &[&str]) -> Job {
    let materials = texts.iter().map(|text| Material::input(*text)).collect();
    Job { kind, materials, instruction: String::new(), context: String::new(), model: None }
}

pub async fn run(engine: &dyn Engine, job: Job) -> Result<(Output, Arc<Recorder>), EngineError> {
    let recorder = Arc::new(Recorder::default());
    let output = engine.run(job, recorder.clone(), CancellationToken::new()).await?;
    Ok((output, recorder))
}

/// The fields of an output, checked for what every output has.
pub fn fields(output: &Output, engine: &str, generative: bool) -> Map<String, Value> {
    assert_eq!(output.data["engine"], engine);
    assert_eq!(output.data["generative"], generative);
    let usage = &output.data["usage"];
    assert_eq!(usage["prompt_tokens"], output.usage.prompt_tokens);
    assert_eq!(usage["completion_tokens"], output.usage.completion_tokens);
    assert_eq!(usage["estimated"], output.usage.estimated);
    output.data.clone()
}
