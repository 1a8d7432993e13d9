//! What the tests run the broker with.

mod engine;
mod provider;
mod store;
mod world;

pub use engine::TestEngine;
pub use provider::{Provider, Reply};
pub use store::MemoryStore;
pub use world::World;
