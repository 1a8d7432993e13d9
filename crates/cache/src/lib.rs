//! What services keep close at hand. Now the realtime log: each channel's events in order, so that a client which was away
//! for a moment reads what it missed instead of starting over.

pub mod contract;
mod log;
mod memory;

pub use log::{NewEvent, RealtimeLog, Replay};
pub use memory::{MemoryLog, MemoryLogOptions};
