//! What happens, as it happens: a hub that hears every channel event once, and sockets and streams that pass them on.
//!
//! The log is the truth and the bus only says that there is something new. So a lost, repeated or reordered message changes
//! nothing for a client: each reader knows its place in a channel and reads the log when numbers are missing.

mod consumer;
mod end;
mod event;
mod feed;
mod handshake;
mod hub;
mod reader;
mod session;
mod socket;
mod sse;

pub use consumer::{LookEvery, listen, look_for_missed};
pub use event::LiveEvent;
pub use feed::{Feed, Outgoing};
pub use handshake::open as open_socket;
pub use hub::{Hub, Item, Mailbox};
pub use reader::LogReader;
pub use session::Session;
pub use sse::open as open_stream;
