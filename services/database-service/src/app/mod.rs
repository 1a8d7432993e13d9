//! The use cases: watch targets, tell how they are, test connections. No web, no SQL.

mod alerts;
mod checker;
mod condition;
mod driver;
mod history;
mod kind;
mod link;
mod monitor;
mod registration;
mod target;
mod test_connection;
mod uptime;
mod view;

pub use alerts::{Alert, Alerts, Severity};
pub use checker::{Checker, Intervals};
pub use condition::{Condition, Thresholds, Tracker};
pub use driver::{Depth, Driver, Drivers, Failure, Observation, Progress, Session, Step};
pub use history::{HISTORY_LENGTH, History, Journal, Record, Remembered};
pub use kind::Kind;
pub use monitor::Monitor;
pub use registration::{CAPABILITIES, RegistrationView, ServiceAddress, metadata_patch, routes};
pub use target::{Target, is_target_name};
pub use test_connection::{TestReport, TestRequest, TestedTarget};
pub use uptime::{Share, Uptime};
pub use view::{
    Connection, Connections, HealthView, KindStatus, Metrics, OverallStatus, ProbeError, ServiceInfo, Status,
    StatusView, TargetStatus,
};
