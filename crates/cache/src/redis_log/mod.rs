//! The realtime log on Redis, for several processes.

mod stored;

use std::{sync::LazyLock, time::Duration};

use async_trait::async_trait;
use redis::{Cmd, Pipeline, Script, cmd};
use sker_error::Result;
use sker_types::ChannelEvent;

use crate::{
    NewEvent, RealtimeLog, Redis, Replay,
    cache::kept_for,
    redis::{Request, one},
};

/// Channels whose last numbers are asked for in one round trip.
const CHANNELS_AT_ONCE: usize = 500;

static APPEND: LazyLock<Script> =
    LazyLock::new(|| Script::new(concat!(include_str!("begin.lua"), include_str!("append.lua"))));
static READ: LazyLock<Script> =
    LazyLock::new(|| Script::new(concat!(include_str!("begin.lua"), include_str!("read.lua"))));
static LATEST: LazyLock<Script> =
    LazyLock::new(|| Script::new(concat!(include_str!("begin.lua"), include_str!("latest.lua"))));

/// How much a [`RedisLog`] keeps.
#[derive(Clone, Copy, Debug)]
pub struct RedisLogOptions {
    /// Events per channel; older ones are forgotten first.
    pub per_channel: usize,
    /// About how many bytes of events per channel; older ones are forgotten first, but for the last.
    pub bytes_per_channel: usize,
    /// A channel that nobody writes to or asks for is forgotten after this time, or half of it.
    pub idle: Duration,
}

impl Default for RedisLogOptions {
    fn default() -> Self {
        RedisLogOptions { per_channel: 4_096, bytes_per_channel: 2 << 20, idle: Duration::from_hours(24) }
    }
}

/// A [`RealtimeLog`] on Redis, bounded by [`RedisLogOptions`]: one hash per channel, changed by one script at a time.
///
/// A channel's numbers follow on one another from its base on. The base is the time at which the channel was first asked for
/// or written to, in half microseconds: whatever was given out before, by a channel that is forgotten or lost, is below it.
/// A channel is all there or not at all, since it is one key: a server that needs room may drop whole channels
/// (`maxmemory-policy volatile-lru`). What a server has loaded again after a restart is not relied on, for its end may be
/// missing: readers from before are told to start over.
#[derive(Clone, Debug)]
pub struct RedisLog {
    redis: Redis,
    options: RedisLogOptions,
}

impl RedisLog {
    /// A log on a server; several processes share it.
    pub fn new(redis: Redis, options: RedisLogOptions) -> Self {
        RedisLog { redis, options }
    }

    /// A call of a script for a channel; the script's own arguments follow.
    fn call(&self, script: &Script, channel: &str, server_run: &str) -> Cmd {
        let idle = kept_for(self.options.idle).as_millis() as u64;
        cmd("EVALSHA")
            .arg(script.get_hash())
            .arg(1)
            .arg(self.redis.key("log", channel))
            .arg(server_run)
            .arg(idle)
            .take()
    }
}

#[async_trait]
impl RealtimeLog for RedisLog {
    async fn append(&self, channel: &str, event: NewEvent) -> Result<ChannelEvent> {
        let entry = stored::encode(&event)?;
        let id = event.id.to_string();
        let (events, bytes) = (self.options.per_channel.max(1), self.options.bytes_per_channel);
        let commands =
            |run: &str| one(self.call(&APPEND, channel, run).arg(&id).arg(&entry).arg(events).arg(bytes).take());
        // The id makes a repetition harmless.
        let request = Request { commands, script: Some(&APPEND), repeatable: true };
        let ((seq, there),): ((u64, Option<Vec<u8>>),) = self.redis.ask(request).await?;
        match there {
            Some(entry) => stored::decode(&entry, channel, seq),
            None => Ok(ChannelEvent {
                kind: event.kind,
                id: event.id,
                seq,
                channel: channel.to_owned(),
                time: event.time,
                data: event.data,
            }),
        }
    }

    async fn read(&self, channel: &str, after: u64, limit: usize) -> Result<Replay> {
        let commands = |run: &str| one(self.call(&READ, channel, run).arg(after).arg(limit).take());
        let request = Request { commands, script: Some(&READ), repeatable: true };
        let ((complete, number, entries),): ((bool, u64, Vec<Vec<u8>>),) = self.redis.ask(request).await?;
        if !complete {
            return Ok(Replay::TooOld { latest: number });
        }
        let events = (number..).zip(entries).map(|(seq, entry)| stored::decode(&entry, channel, seq));
        events.collect::<Result<_>>().map(Replay::Events)
    }

    async fn latest(&self, channel: &str) -> Result<u64> {
        let commands = |run: &str| one(self.call(&LATEST, channel, run));
        let (last,): (u64,) = self.redis.ask(Request { commands, script: Some(&LATEST), repeatable: true }).await?;
        Ok(last)
    }

    async fn latest_many(&self, channels: &[String]) -> Result<Vec<u64>> {
        let mut all = Vec::with_capacity(channels.len());
        for some in channels.chunks(CHANNELS_AT_ONCE) {
            let commands = |run: &str| {
                let mut commands = Pipeline::with_capacity(some.len());
                for channel in some {
                    commands.add_command(self.call(&LATEST, channel, run));
                }
                commands
            };
            let last: Vec<u64> = self.redis.ask(Request { commands, script: Some(&LATEST), repeatable: true }).await?;
            all.extend(last);
        }
        Ok(all)
    }
}
