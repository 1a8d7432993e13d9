//! The store's schema. Nothing here is SQL of one database only; partial indexes are spelled as text because both SQLite
//! and PostgreSQL read the same.

mod accounts;
mod canvas;
mod tasks;

use sea_orm_migration::{MigrationTrait, MigratorTrait};

/// All of the store's migrations, in order.
pub(crate) struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            sker_outbox::migration(),
            Box::new(accounts::CreateAccounts),
            Box::new(canvas::CreateCanvas),
            Box::new(tasks::CreateTasks),
        ]
    }
}
