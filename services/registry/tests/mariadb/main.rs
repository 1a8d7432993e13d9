//! The tests of the target `it` on MariaDB, and what they are with a server of one's own that is killed.

#[path = "../it/access.rs"]
mod access;
#[path = "../server/away.rs"]
mod away;
mod backend;
#[path = "../it/contract.rs"]
mod contract;
#[path = "../it/discovery.rs"]
mod discovery;
#[path = "../it/events.rs"]
mod events;
#[path = "../it/groups.rs"]
mod groups;
#[path = "../it/leases.rs"]
mod leases;
#[path = "../it/outage.rs"]
mod outage;
#[path = "../it/process.rs"]
mod process;
#[path = "../it/restart.rs"]
mod restart;
#[path = "../it/seed.rs"]
mod seed;
#[path = "../it/support.rs"]
mod support;
#[path = "../it/watch.rs"]
mod watch;
