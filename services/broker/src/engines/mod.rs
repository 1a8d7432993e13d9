//! AI engines behind one trait.
//!
//! An [`Engine`] turns a [`Job`] into an [`Output`]. It is chosen per task (`input_data.engine`) or by the configured
//! default, and a task never falls back from one engine to another silently: output says which engine made it.

mod error;
mod job;
pub mod local;
pub mod openai;
mod output;
mod set;
mod sink;
pub mod text;

use std::sync::Arc;

use async_trait::async_trait;
pub use error::{EngineError, Failure};
pub use job::{Job, Material, TaskKind};
pub use output::{Output, Usage};
pub use set::EngineSet;
pub use sink::{NullSink, Sink};
use tokio_util::sync::CancellationToken;

/// Something that does AI tasks.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// The name that tasks choose it by.
    fn name(&self) -> &'static str;

    /// Does one job. Reports progress and text to `sink` on the way. When `cancel` fires, or when the future is
    /// dropped, all work for the job stops: sockets are closed and threads given back.
    async fn run(&self, job: Job, sink: Arc<dyn Sink>, cancel: CancellationToken) -> Result<Output, EngineError>;
}
