//! The gateway on real sockets, between clients and upstream servers of the tests' own.

mod lifecycle;
mod outside;
mod program;
mod proxy;
mod realtime;
mod registry_away;
mod replicas;
mod retries;
mod routes;
mod safety;
mod sse;
mod support;
