//! Keeps the working set in a database: reads it at the start and writes changes behind, in batches.

mod entity;
mod events;
mod load;
mod pending;
mod rows;
mod write_behind;

pub use load::load;
pub use write_behind::{EventPolicy, WriteBehind};
