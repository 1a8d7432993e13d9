use std::{sync::LazyLock, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use redis::{Script, cmd};
use sker_error::{Error, Result};

use crate::{
    Cache, Redis,
    cache::{kept_for, not_a_counter},
    redis::{Request, one},
};

/// A counter's end is set once, with its beginning. The sum is answered as text: a number of Lua's is exact to 53 bits only.
static INCREMENT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "redis.call('INCRBY', KEYS[1], ARGV[1])
         if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
         return redis.call('GET', KEYS[1])",
    )
});

/// A [`Cache`] on Redis: all replicas see the same values.
#[derive(Clone, Debug)]
pub struct RedisCache {
    redis: Redis,
}

impl RedisCache {
    /// The values under this server's prefix.
    pub fn new(redis: Redis) -> Self {
        RedisCache { redis }
    }

    fn key(&self, key: &str) -> String {
        self.redis.key("cache", key)
    }
}

#[async_trait]
impl Cache for RedisCache {
    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        let key = self.key(key);
        let commands = |_: &str| one(cmd("GET").arg(&key).take());
        let (value,): (Option<Vec<u8>>,) = self.redis.ask(Request { commands, script: None, repeatable: true }).await?;
        Ok(value.map(Bytes::from))
    }

    async fn put(&self, key: &str, value: Bytes, ttl: Duration) -> Result<()> {
        let key = self.key(key);
        let ttl = kept_for(ttl).as_millis() as u64;
        let commands = |_: &str| one(cmd("SET").arg(&key).arg(&value[..]).arg("PX").arg(ttl).take());
        let ((),) = self.redis.ask(Request { commands, script: None, repeatable: true }).await?;
        Ok(())
    }

    async fn remove(&self, key: &str) -> Result<()> {
        let key = self.key(key);
        let commands = |_: &str| one(cmd("UNLINK").arg(&key).take());
        let (_,): (i64,) = self.redis.ask(Request { commands, script: None, repeatable: true }).await?;
        Ok(())
    }

    async fn increment(&self, key: &str, by: i64, ttl: Duration) -> Result<i64> {
        let key = self.key(key);
        let ttl = kept_for(ttl).as_millis() as u64;
        let commands = |_: &str| one(cmd("EVALSHA").arg(INCREMENT.get_hash()).arg(1).arg(&key).arg(by).arg(ttl).take());
        // Nobody can tell a repeated addition from a second one.
        let request = Request { commands, script: Some(&INCREMENT), repeatable: false };
        let answer: Result<(String,)> = self.redis.ask(request).await;
        let (sum,) = answer.map_err(|error| if says_no_counter(&error) { not_a_counter() } else { error })?;
        sum.parse().map_err(Error::internal)
    }
}

fn says_no_counter(error: &Error) -> bool {
    let cause = error.cause().map(ToString::to_string).unwrap_or_default();
    cause.contains("value is not an integer") || cause.contains("would overflow")
}
