//! Claiming tasks, running them and telling the store what came of it. No web, no gRPC, no SQL.
//!
//! The bus only wakes: the store's row is the truth. Every call about a task carries the lease epoch of its claim, so that a
//! broker which was away too long changes nothing.

mod cancellations;
mod claims;
mod intake;
mod job;
mod lease_keeper;
mod metrics;
mod overview;
mod reporter;
mod runner;
mod running;
mod session;
mod worker;

pub use cancellations::listen_for_cancellations;
pub use job::prepare_job;
pub use lease_keeper::keep_leases;
pub use metrics::BrokerMetrics;
pub use overview::{Overview, QueueView, RunningView, WorkerView};
pub use running::{Running, RunningTasks, StopReason};
pub use session::{Session, release_previous};
pub use worker::{Broker, WorkerOptions};
