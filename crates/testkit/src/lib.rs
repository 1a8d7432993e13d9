//! Development only: ports, processes and platforms for tests.
//!
//! Tests of the whole platform run the programs that were built, from outside: over HTTP, WebSocket, signals and exit
//! statuses. [`Embedded`] is a `sker up` of one's own; [`Api`] and [`Socket`] talk to it as a client would, by
//! CONTRACT.md and without the project's own client, so that they would notice if both were wrong in the same way.
//!
//! Nothing here waits without a bound, and every process is killed when its handle is dropped.

mod api;
mod embedded;
mod ports;
mod program;
mod socket;
mod sse;
mod wait;

pub use api::{Answer, Api};
pub use embedded::{Embedded, Ports};
pub use ports::free_port;
pub use program::{Finished, Launch, Program, Signal, bin_dir};
pub use socket::Socket;
pub use sse::EventStream;
pub use wait::{PATIENCE, eventually};
