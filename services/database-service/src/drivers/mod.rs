//! What talks to databases, one file per kind.

mod mysql;
mod network;
mod postgresql;
mod rabbitmq;
mod redis;
mod sqlite;

use std::sync::Arc;

use crate::app::{Drivers, Kind};

/// The drivers of this version.
pub fn all() -> Drivers {
    Drivers::new()
        .with(Kind::Postgresql, Arc::new(postgresql::Postgresql))
        .with(Kind::Mysql, Arc::new(mysql::Mysql))
        .with(Kind::Redis, Arc::new(redis::Redis))
        .with(Kind::Rabbitmq, Arc::new(rabbitmq::Rabbitmq))
        .with(Kind::Sqlite, Arc::new(sqlite::Sqlite))
}
