//! Claiming, running and telling.

mod claiming;
mod ending;
mod faults;
mod stealing;
mod stopping;
mod streaming;
