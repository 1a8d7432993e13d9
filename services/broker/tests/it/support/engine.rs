use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use async_trait::async_trait;
use serde_json::{Map, json};
use sker_broker::engines::{Engine, EngineError, Failure, Job, Output, Sink, Usage};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

/// Does what the first word of its input says.
#[derive(Default)]
pub struct TestEngine {
    pub started: AtomicU32,
    /// Counts futures that were dropped before they ended: their sockets would be closed.
    pub aborted: Arc<AtomicU32>,
    pub aborts: Arc<Notify>,
    /// `hold` waits for a permit.
    pub gate: Option<Arc<Semaphore>>,
}

struct Guard {
    done: bool,
    aborted: Arc<AtomicU32>,
    aborts: Arc<Notify>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.done {
            self.aborted.fetch_add(1, Ordering::SeqCst);
            self.aborts.notify_one();
        }
    }
}

#[async_trait]
impl Engine for TestEngine {
    fn name(&self) -> &'static str {
        "test"
    }

    async fn run(&self, job: Job, sink: Arc<dyn Sink>, _: CancellationToken) -> Result<Output, EngineError> {
        let attempt = self.started.fetch_add(1, Ordering::SeqCst) + 1;
        let mut guard = Guard { done: false, aborted: Arc::clone(&self.aborted), aborts: Arc::clone(&self.aborts) };
        let text = job.materials[0].text.clone();
        let outcome = match text.split_whitespace().next().unwrap_or_default() {
            "hang" => std::future::pending().await,
            "hold" => {
                self.gate.as_ref().expect("the test gave a gate").acquire().await.expect("never closed").forget();
                Ok(())
            }
            "progress" => {
                for step in 0_u8.. {
                    sink.progress(step / 2, "on the way");
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                }
                Ok(())
            }
            "panic" => panic!("the engine was told to panic"),
            "transient" => Err(Failure::transient("engine_unavailable", "try again").with_retry_after_ms(7)),
            "twice" if attempt < 2 => Err(Failure::transient("engine_error", "the first attempt fails")),
            "permanent" => Err(Failure::permanent("invalid_input", "no use")),
            "stream" => {
                for piece in ["one ", "two ", "three"] {
                    sink.chunk(piece);
                }
                Ok(())
            }
            _ => Ok(()),
        };
        guard.done = true;
        outcome?;
        let usage = Usage::estimate([&*text], "done");
        Ok(Output::new(Map::from_iter([("text".to_owned(), json!("done"))]), "test", false, usage))
    }
}
