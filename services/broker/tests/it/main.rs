//! The broker against a store in memory, with the bus in memory and on RabbitMQ; its engines against servers of the tests'
//! own.

mod engines;
mod rabbitmq;
mod service;
mod support;
mod worker;
