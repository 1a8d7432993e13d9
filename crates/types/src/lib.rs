//! Ids, UTC time, principals, paging and event payloads shared by every service. No I/O.

mod event;
mod id;
mod page;
mod principal;
mod time;

pub use event::{ChannelEvent, DomainEvent, TaskWake, channel, event_type};
pub use id::{new_id, parse_id};
pub use page::{DEFAULT_PAGE_LIMIT, MAX_PAGE_LIMIT, Page};
pub use principal::{Principal, PrincipalKind, Role};
pub use time::{Time, from_micros, now, to_micros, truncate};

pub use uuid::Uuid;
