//! The bus on a real RabbitMQ.

mod connections;
mod contract;
mod foreign;
mod servers;
mod silence;
mod support;
mod topology;
