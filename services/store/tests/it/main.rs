//! The store as its clients and the other services see it: a real one per test, on a file of its own.

mod accounts;
mod batch;
mod conditional;
mod connections;
mod contract;
mod events;
mod idempotency;
mod nodes;
mod paging;
mod projects;
mod restart;
mod standard;
mod support;
mod task_attempts;
mod task_cancellation;
mod task_input;
mod task_leases;
mod task_results;
mod tokens;
mod visibility;
