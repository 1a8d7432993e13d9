//! What SPEC.md and CONTRACT.md promise of the store, as clients and other services see it, on real sockets. Each test has a
//! store of its own, here on SQLite; `tests/postgres` runs the same on PostgreSQL.

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
mod races;
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

/// Where the stores of these tests keep their rows: in a SQLite file, or on the PostgreSQL server that all tests share.
const ON_POSTGRES: bool = false;
