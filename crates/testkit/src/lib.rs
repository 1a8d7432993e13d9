//! Development only: ports, processes and platforms for tests.
//!
//! Tests of the whole platform run the programs that were built, from outside: over HTTP, WebSocket, signals and exit
//! statuses. [`Embedded`] is a `sker up` of one's own, [`Distributed`] the same platform as programs of their own; [`Api`]
//! and [`Socket`] talk to it as a client would, by CONTRACT.md and without the project's own client, so that they would
//! notice if both were wrong in the same way.
//!
//! Tests that need PostgreSQL, MariaDB, Redis or RabbitMQ share the servers that `cargo xtask test` starts for a run, each in
//! a place of its own there: [`postgres_database`], [`mariadb_database`], [`redis_prefix`], [`rabbitmq_vhost`]. A test that
//! kills a server starts one for itself: [`PostgresServer`], [`MariaDbServer`], [`RedisServer`], [`RabbitServer`].
//!
//! Nothing here waits without a bound, and every process is killed when its handle is dropped.

mod api;
mod cleanup;
mod daemon;
mod distributed;
mod embedded;
mod mariadb;
mod nginx;
mod ports;
mod postgres;
mod program;
mod rabbitmq;
mod redis;
mod shared;
mod socket;
mod sse;
mod wait;

pub use api::{Answer, Api};
pub use distributed::{Distributed, Outside, Plan, Service};
pub use embedded::{Embedded, Ports};
pub use mariadb::{MariaDbServer, mariadb_database};
pub use nginx::NginxServer;
pub use ports::free_port;
pub use postgres::{PostgresServer, TestDatabase, postgres_database};
pub use program::{Finished, Launch, Program, Signal, bin_dir, signal_group};
pub use rabbitmq::{RabbitServer, TestVhost, rabbitmq_vhost};
pub use redis::{RedisServer, redis_prefix, redis_url};
pub use shared::Shared;
pub use socket::Socket;
pub use sse::EventStream;
pub use wait::{PATIENCE, eventually};
