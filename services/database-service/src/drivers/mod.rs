//! What talks to databases, one file per kind.

mod sqlite;

use std::sync::Arc;

use crate::app::{Drivers, Kind};

/// The drivers of this version.
pub fn all() -> Drivers {
    Drivers::new().with(Kind::Sqlite, Arc::new(sqlite::Sqlite))
}
