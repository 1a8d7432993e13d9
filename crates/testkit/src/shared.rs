use std::env;

use anyhow::{Context, Result};

/// A server that the tests of one run share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shared {
    /// PostgreSQL, as a superuser.
    Postgres,
    /// MariaDB or MySQL, as root.
    MariaDb,
    /// Redis.
    Redis,
    /// RabbitMQ's AMQP port, as an administrator.
    RabbitMq,
    /// RabbitMQ's management API, as an administrator.
    RabbitMqManagement,
}

impl Shared {
    /// The environment variable that holds its URL.
    pub fn variable(self) -> &'static str {
        match self {
            Shared::Postgres => "SKER_TEST_POSTGRES_URL",
            Shared::MariaDb => "SKER_TEST_MARIADB_URL",
            Shared::Redis => "SKER_TEST_REDIS_URL",
            Shared::RabbitMq => "SKER_TEST_RABBITMQ_URL",
            Shared::RabbitMqManagement => "SKER_TEST_RABBITMQ_MANAGEMENT_URL",
        }
    }

    /// Its URL; an error that says how to start it when there is none.
    pub fn url(self) -> Result<String> {
        let variable = self.variable();
        env::var(variable).ok().filter(|url| !url.is_empty()).with_context(|| {
            format!(
                "{variable} is not set: run the tests with `cargo xtask test`, which starts the servers they need, or with \
                 scripts/test.sh, which installs them first"
            )
        })
    }
}
