use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::{analysis, fusion, items, optimization};
use crate::engines::{EngineError, Failure, Job, Output, Sink, TaskKind, Usage};

/// One job under way, on whatever thread it runs.
pub(super) struct Work<'a> {
    pub(super) job: &'a Job,
    sink: &'a dyn Sink,
    cancel: &'a CancellationToken,
}

impl<'a> Work<'a> {
    pub(super) fn new(job: &'a Job, sink: &'a dyn Sink, cancel: &'a CancellationToken) -> Self {
        Work { job, sink, cancel }
    }

    /// Does the job.
    pub(super) fn run(&self) -> Result<Output, EngineError> {
        if self.job.materials.iter().all(|material| material.text.trim().is_empty()) {
            return Err(Failure::permanent("invalid_input", "there is no text to work on").into());
        }
        let fields = match self.job.kind {
            TaskKind::ContentFusion => fusion::fuse(self)?,
            TaskKind::ContentGeneration => fusion::draft(self)?,
            TaskKind::ContentOptimization => optimization::optimize(self)?,
            TaskKind::SemanticAnalysis => analysis::analyse(self)?,
            TaskKind::NodeEnhancement => items::enhance(self)?,
            TaskKind::BatchProcessing => items::batch(self)?,
        };
        self.check()?;
        let prompt = self.job.materials.iter().map(|material| material.text.as_str());
        let prompt = prompt.chain([self.job.instruction.as_str(), self.job.context.as_str()]);
        let usage = Usage::estimate(prompt, &visible_text(&fields));
        self.sink.progress(100, "done");
        Ok(Output::new(fields, "local", false, usage))
    }

    /// Fails when the job has been cancelled. Called between any two bounded steps.
    pub(super) fn check(&self) -> Result<(), EngineError> {
        if self.cancel.is_cancelled() { Err(EngineError::Cancelled) } else { Ok(()) }
    }

    /// Reports progress: `done` of `all`, mapped to the part of the bar between `from` and `to`.
    pub(super) fn progress(&self, from: u8, to: u8, done: usize, all: usize, message: &str) {
        let span = usize::from(to - from);
        let percent = usize::from(from) + span * done.min(all) / all.max(1);
        self.sink.progress(u8::try_from(percent).unwrap_or(100), message);
    }

    pub(super) fn chunk(&self, text: &str) {
        self.sink.chunk(text);
    }
}

/// Everything of a result that a reader sees, for counting.
fn visible_text(fields: &Map<String, Value>) -> String {
    match fields.get("text") {
        Some(Value::String(text)) => text.clone(),
        _ => json!(fields).to_string(),
    }
}
