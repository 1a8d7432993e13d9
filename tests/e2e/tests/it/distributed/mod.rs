//! The platform as programs of their own, on PostgreSQL, Redis and RabbitMQ, and what it bears.

mod brokers;
mod canvas;
mod engine;
mod follower;
mod gateways;
mod live;
mod load;
mod names;
mod nginx;
mod outages;
mod registry;
mod tracing;
