use anyhow::Result;

use crate::{
    PostgresServer, RabbitServer, RedisServer, TestDatabase, TestVhost, postgres_database, rabbitmq_vhost,
    redis_prefix, redis_url,
};

/// Which servers a platform uses: those that all tests share, unless it is given its own.
#[derive(Clone, Debug, Default)]
pub struct Outside {
    postgres: Option<String>,
    rabbitmq: Option<String>,
    redis: Option<String>,
}

impl Outside {
    /// The shared servers, with a database, a virtual host and a prefix of keys of its own there.
    pub fn shared() -> Self {
        Outside::default()
    }

    /// With a PostgreSQL server of its own.
    pub fn postgres(self, server: &PostgresServer) -> Self {
        Outside { postgres: Some(server.url()), ..self }
    }

    /// With a RabbitMQ server of its own.
    pub fn rabbitmq(self, server: &RabbitServer) -> Self {
        Outside { rabbitmq: Some(server.url()), ..self }
    }

    /// With a Redis server of its own.
    pub fn redis(self, server: &RedisServer) -> Self {
        Outside { redis: Some(server.url()), ..self }
    }

    /// Where everything is.
    pub(super) async fn places(self) -> Result<Places> {
        let (postgres, database) = match self.postgres {
            Some(url) => (url, None),
            None => {
                let database = postgres_database("distributed", async |_| Ok(())).await?;
                (database.url().to_owned(), Some(database))
            }
        };
        let (rabbitmq, vhost) = match self.rabbitmq {
            Some(url) => (url, None),
            None => {
                let vhost = rabbitmq_vhost().await?;
                (vhost.url().to_owned(), Some(vhost))
            }
        };
        Ok(Places {
            postgres,
            rabbitmq,
            redis: self.redis.map_or_else(redis_url, Ok)?,
            redis_prefix: redis_prefix(),
            _kept: (database, vhost),
        })
    }
}

/// The servers of a platform by URL, and what is kept for it on the shared ones.
pub(super) struct Places {
    pub(super) postgres: String,
    pub(super) rabbitmq: String,
    pub(super) redis: String,
    pub(super) redis_prefix: String,
    _kept: (Option<TestDatabase>, Option<TestVhost>),
}
