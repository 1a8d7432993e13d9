//! The broker against a store in memory, the real bus and log in memory, and its engines against servers of the tests' own.

mod engines;
mod service;
mod support;
mod worker;
