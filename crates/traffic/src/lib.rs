//! Load balancing, backoff, budgets and limits as pure state machines: no I/O, no clock, no runtime. The gateway, the
//! registry, the broker, the store and the client SDK share them.

pub mod backoff;
pub mod pick;

pub use backoff::Backoff;
pub use pick::RoundRobin;
