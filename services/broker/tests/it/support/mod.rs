//! What the tests run the broker with.

mod engine;
mod flaky;
mod provider;
mod store;
mod world;

pub use engine::TestEngine;
pub use flaky::FlakyBus;
pub use provider::{Provider, Reply};
pub use store::MemoryStore;
pub use world::{World, options};
