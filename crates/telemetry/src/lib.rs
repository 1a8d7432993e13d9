//! Logs, traces and metrics: one way to start them, and a guard that flushes.
//!
//! A process calls [`init`] once. Services that share a process share its logs and traces; each has [`Metrics`] of its own.
//! Trace ids are made and passed on (W3C trace context) whether or not spans are exported.

mod config;
mod init;
mod metrics;
mod redact;
mod rotate;
pub mod trace;

pub use config::{FileConfig, LogConfig, LogFormat, LogOutput, Rotation, TelemetryConfig};
pub use init::{Guard, init};
pub use metrics::Metrics;
pub use prometheus;
pub use redact::RedactingWriter;
pub use rotate::RotatingFile;
