//! The outbox and its relay on SQLite, with the bus and the log of this process behind faults.

mod faults;
mod housekeeping;
mod postgres;
mod relaying;
mod world;
