//! What clients and other services see of the store, on SQLite and real sockets.

mod accounts;
mod batches;
mod canvas;
mod conditions;
mod contract;
mod events;
mod leases;
mod lists;
mod spec;
mod tasks;
mod world;
