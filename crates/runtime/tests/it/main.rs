//! The runtime from outside: real servers on free ports.

mod boundary;
mod extractors;
mod health;
mod lifecycle;
mod program;
mod rpc;
mod signal;
mod standard;
mod support;
mod tasks;
