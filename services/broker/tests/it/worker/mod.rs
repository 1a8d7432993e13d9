//! Claiming, running and telling.

mod ending;
mod faults;
mod stopping;
mod streaming;
