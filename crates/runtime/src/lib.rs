//! One way to start, watch and stop a service.
//!
//! A service brings its use cases; everything that all services have in common is here, once: the standard answers
//! ([`Standard`]: health, metrics, API description), the HTTP server with its boundary ([`http`]), the gRPC server
//! ([`rpc`]), named background tasks ([`TaskSet`]), cached health checks ([`Health`]), the order in which a service stops
//! ([`Lifecycle`]), and what a program's `main` does ([`program`]).
//!
//! Nothing here is process-wide: five services run in one process, and a test runs as many as it likes.

mod check;
mod config;
mod health;
pub mod http;
mod lifecycle;
mod listeners;
mod main_runtime;
mod platform;
mod problem;
pub mod program;
mod query;
mod request_id;
pub mod rpc;
pub mod signal;
mod standard;
mod tasks;

pub use check::{Check, CheckReport, CheckStatus, Criticality};
pub use config::{GrpcConfig, HttpConfig, ShutdownConfig};
pub use health::{Health, HealthReport, HealthStatus};
pub use lifecycle::Lifecycle;
pub use listeners::{Listeners, bind};
pub use main_runtime::MainRuntime;
pub use platform::{advertised_host, platform_instance};
pub use problem::{log_failure, problem_response};
pub use query::QueryFields;
pub use request_id::{REQUEST_ID, request_id};
pub use standard::{Standard, openapi_json};
pub use tasks::{Outcome, Policy, TaskSet};
