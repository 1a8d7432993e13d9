//! The registry over real HTTP and gRPC, on ports of its own and a SQLite file of its own. The targets `postgres` and
//! `mariadb` run the same tests on those servers; `backend` is what they differ in.

mod access;
mod backend;
mod contract;
mod discovery;
mod events;
mod groups;
mod leases;
mod outage;
mod process;
mod restart;
mod seed;
mod support;
mod watch;
