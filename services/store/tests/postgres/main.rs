//! The tests of `tests/it` on PostgreSQL, each on a database of its own, and what only PostgreSQL allows: replicas.

#[path = "../it/accounts.rs"]
mod accounts;
#[path = "../it/batch.rs"]
mod batch;
#[path = "../it/conditional.rs"]
mod conditional;
#[path = "../it/connections.rs"]
mod connections;
#[path = "../it/contract.rs"]
mod contract;
#[path = "../it/events.rs"]
mod events;
#[path = "../it/idempotency.rs"]
mod idempotency;
#[path = "../it/nodes.rs"]
mod nodes;
#[path = "../it/paging.rs"]
mod paging;
#[path = "../it/projects.rs"]
mod projects;
#[path = "../it/races.rs"]
mod races;
mod recovery;
mod replicas;
#[path = "../it/restart.rs"]
mod restart;
#[path = "../it/standard.rs"]
mod standard;
#[path = "../it/support/mod.rs"]
mod support;
#[path = "../it/task_attempts.rs"]
mod task_attempts;
#[path = "../it/task_cancellation.rs"]
mod task_cancellation;
#[path = "../it/task_input.rs"]
mod task_input;
#[path = "../it/task_leases.rs"]
mod task_leases;
#[path = "../it/task_results.rs"]
mod task_results;
#[path = "../it/tokens.rs"]
mod tokens;
#[path = "../it/visibility.rs"]
mod visibility;

/// Where the stores of these tests keep their rows: in a SQLite file, or on the PostgreSQL server that all tests share.
const ON_POSTGRES: bool = true;
