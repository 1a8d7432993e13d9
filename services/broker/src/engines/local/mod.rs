//! The built-in engine: deterministic, without network or model weights, and honest about it (`generative: false`).
//!
//! It extracts and never invents: every sentence it gives is a verbatim part of its source. Methods:
//! - sentences are ranked by LexRank (Erkan and Radev, "LexRank: Graph-based Lexical Centrality as Salience in Text
//!   Summarization", JAIR 22, 2004), with the topic-sensitive restart of Haveliwala (2002) when there is an instruction;
//! - to it come the classic features of Edmundson ("New Methods in Automatic Extracting", JACM 16, 1969): key terms, title
//!   words, cue words and place, the place after Baxendale (1958), who found topic sentences at either end of paragraphs;
//! - what is chosen is kept diverse by maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998);
//! - key phrases are ranked by C-value (Frantzi, Ananiadou and Mima, "Automatic Recognition of Multi-Word Terms", 2000).
//!
//! Work is bounded: a node gives at most a few candidates, all nodes together at most [`rank::MAX_CANDIDATES`], so that
//! nothing is ever quadratic in the whole material.

mod analysis;
mod confidence;
mod corpus;
mod cues;
mod fusion;
mod items;
mod optimization;
mod phrases;
mod rank;
mod semantics;
mod support;
mod work;

use std::{num::NonZeroUsize, sync::Arc};

use async_trait::async_trait;
pub use corpus::Corpus;
pub use phrases::{Phrase, PhraseCounter};
pub use rank::{MAX_CANDIDATES, Pick, select};
pub use support::sources_of;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use self::work::Work;
use super::{Engine, EngineError, Failure, Job, Output, Sink};

/// Jobs up to this size are done where they stand: handing them to another thread would cost more than they do.
const INLINE_BYTES: usize = 4 * 1024;

/// The built-in engine. Cheap to clone; clones share the pool.
#[derive(Clone)]
pub struct LocalEngine {
    threads: Arc<Semaphore>,
}

impl LocalEngine {
    /// An engine that uses at most `threads` threads at a time. Call [`super::text::warm_up`] once to have the
    /// dictionaries loaded before the first task.
    pub fn new(threads: NonZeroUsize) -> Self {
        LocalEngine { threads: Arc::new(Semaphore::new(threads.get())) }
    }
}

#[async_trait]
impl Engine for LocalEngine {
    fn name(&self) -> &'static str {
        "local"
    }

    async fn run(&self, job: Job, sink: Arc<dyn Sink>, cancel: CancellationToken) -> Result<Output, EngineError> {
        if job.bytes() <= INLINE_BYTES {
            return Work::new(&job, &*sink, &cancel).run();
        }
        let permit = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(EngineError::Cancelled),
            permit = Arc::clone(&self.threads).acquire_owned() => {
                permit.map_err(|_| Failure::transient("engine_unavailable", "the engine is shutting down"))?
            }
        };
        // A thread cannot be dropped: when this future is, the guard tells the thread to stop.
        let stop = cancel.child_token();
        let guard = stop.clone().drop_guard();
        let work = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            Work::new(&job, &*sink, &stop).run()
        });
        let output = match work.await {
            Ok(output) => output,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(EngineError::Cancelled),
        };
        drop(guard);
        output
    }
}
