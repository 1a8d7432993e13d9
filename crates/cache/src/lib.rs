//! What services keep close at hand, in memory for one process or on Redis for many.
//!
//! * The realtime log: each channel's events in order, so that a client which was away for a moment reads what it missed
//!   instead of starting over (docs/adr/0003 and 0008).
//! * The cache: values and counters that may be forgotten at any time.

mod cache;
pub mod contract;
mod log;
mod memory;
mod memory_cache;
mod redis;
mod redis_cache;
mod redis_log;

pub use self::redis::{Redis, RedisConfig};
pub use cache::Cache;
pub use log::{NewEvent, RealtimeLog, Replay};
pub use memory::{MemoryLog, MemoryLogOptions};
pub use memory_cache::MemoryCache;
pub use redis_cache::RedisCache;
pub use redis_log::{RedisLog, RedisLogOptions};
