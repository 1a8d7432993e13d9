//! Use cases, without HTTP, gRPC or SQL.
//!
//! [`Directory`] is what callers may ask; [`Engine`](engine::Engine) the working set that answers; [`Storage`] what
//! keeps it.

mod access;
mod clock;
mod directory;
mod discovery;
pub mod engine;
mod filter;
mod groups;
pub mod input;
pub mod model;
mod page;
mod services;
mod stats;
mod storage;
pub mod view;
mod watch;

pub use access::{AccessRules, Anonymous, Scope};
pub use clock::{Clock, LeaseClock, SystemClock};
pub use directory::{Changed, Directory, Renewed};
pub use discovery::{Discovered, LONGEST_WAIT, Wait};
pub use filter::Filter;
pub use page::{MAX_LIMIT, Page, Paging};
pub use storage::{Durability, EventQuery, Storage};
pub use watch::{Followed, Interest, Step, follow};
