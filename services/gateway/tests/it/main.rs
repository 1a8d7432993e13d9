//! The gateway on real sockets, between clients and upstream servers of the tests' own.

mod lifecycle;
mod proxy;
mod realtime;
mod retries;
mod routes;
mod safety;
mod sse;
mod support;
