use std::{
    collections::{HashMap, VecDeque},
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

use async_trait::async_trait;
use dashmap::{DashMap, Entry};
use serde_json::Value;
use sker_error::Result;
use sker_types::{ChannelEvent, Uuid};

use crate::{NewEvent, RealtimeLog, Replay};

/// How much a [`MemoryLog`] remembers.
#[derive(Clone, Copy, Debug)]
pub struct MemoryLogOptions {
    /// Events per channel; older ones are forgotten first.
    pub per_channel: usize,
    /// Channels; the ones that were quiet longest are forgotten first.
    pub max_channels: usize,
    /// About how many bytes of events in all; the quietest channels go first.
    pub max_bytes: usize,
}

impl Default for MemoryLogOptions {
    fn default() -> Self {
        MemoryLogOptions { per_channel: 4_096, max_channels: 8_192, max_bytes: 32 << 20 }
    }
}

/// The realtime log in this process, bounded by [`MemoryLogOptions`].
///
/// A sequence number is `boot << 32 | n`: `boot` counts the starts of the process that keeps the log, so that a number never
/// falls although the events before a restart are forgotten.
#[derive(Debug)]
pub struct MemoryLog {
    /// `boot << 32`.
    origin: u64,
    options: MemoryLogOptions,
    channels: DashMap<String, Channel>,
    /// The highest number of any forgotten channel: one that comes back begins above it.
    floor: AtomicU64,
    /// Grows with every append; tells which channels were quiet longest.
    clock: AtomicU64,
    bytes: AtomicUsize,
}

#[derive(Debug)]
struct Channel {
    /// The number before the oldest event that is kept.
    before: u64,
    events: VecDeque<Kept>,
    by_id: HashMap<Uuid, u64>,
    bytes: usize,
    touched: u64,
}

#[derive(Debug)]
struct Kept {
    event: ChannelEvent,
    bytes: usize,
}

impl Channel {
    fn last(&self) -> u64 {
        self.before + self.events.len() as u64
    }

    fn forget_oldest(&mut self) -> usize {
        let Some(kept) = self.events.pop_front() else { return 0 };
        self.by_id.remove(&kept.event.id);
        self.before += 1;
        self.bytes -= kept.bytes;
        kept.bytes
    }
}

impl MemoryLog {
    /// An empty log. `boot` must be higher than at any earlier start with the same clients; below 2^21 a sequence number
    /// fits a JSON number exactly.
    pub fn new(boot: u32, options: MemoryLogOptions) -> Self {
        MemoryLog {
            origin: u64::from(boot) << 32,
            options: MemoryLogOptions {
                per_channel: options.per_channel.max(1),
                max_channels: options.max_channels.max(1),
                max_bytes: options.max_bytes.max(1),
            },
            channels: DashMap::new(),
            floor: AtomicU64::new(0),
            clock: AtomicU64::new(0),
            bytes: AtomicUsize::new(0),
        }
    }

    fn is_over_budget(&self) -> bool {
        self.channels.len() > self.options.max_channels || self.bytes.load(Ordering::Relaxed) > self.options.max_bytes
    }

    /// Forgets quiet channels until an eighth of the budget is free, so that looking at all channels is rare.
    fn forget_quiet_channels(&self, busy: &str) {
        let channels_wanted = self.options.max_channels - self.options.max_channels / 8;
        let bytes_wanted = self.options.max_bytes - self.options.max_bytes / 8;
        let mut quiet: Vec<(u64, String)> = self
            .channels
            .iter()
            .filter(|entry| entry.key() != busy)
            .map(|entry| (entry.touched, entry.key().clone()))
            .collect();
        quiet.sort_unstable();
        for (touched, name) in quiet {
            if self.channels.len() <= channels_wanted && self.bytes.load(Ordering::Relaxed) <= bytes_wanted {
                return;
            }
            let removed = self.channels.remove_if(&name, |_, channel| {
                // The floor rises while the channel is still locked: nobody sees it gone with the floor too low.
                let unchanged = channel.touched == touched;
                if unchanged {
                    self.floor.fetch_max(channel.last(), Ordering::SeqCst);
                }
                unchanged
            });
            if let Some((_, channel)) = removed {
                self.bytes.fetch_sub(channel.bytes, Ordering::Relaxed);
            }
        }
        // The busy channel alone is over the budget.
        if let Some(mut channel) = self.channels.get_mut(busy) {
            while channel.events.len() > 1 && self.bytes.load(Ordering::Relaxed) > bytes_wanted {
                let freed = channel.forget_oldest();
                self.bytes.fetch_sub(freed, Ordering::Relaxed);
            }
        }
    }
}

#[async_trait]
impl RealtimeLog for MemoryLog {
    async fn append(&self, channel: &str, event: NewEvent) -> Result<ChannelEvent> {
        let appended = {
            let mut entry = match self.channels.entry(channel.to_owned()) {
                Entry::Occupied(occupied) => occupied.into_ref(),
                Entry::Vacant(vacant) => vacant.insert(Channel {
                    before: self.floor.load(Ordering::SeqCst),
                    events: VecDeque::new(),
                    by_id: HashMap::new(),
                    bytes: 0,
                    touched: 0,
                }),
            };
            entry.touched = self.clock.fetch_add(1, Ordering::Relaxed);
            if let Some(number) = entry.by_id.get(&event.id)
                && let Some(kept) = entry.events.get((number - entry.before - 1) as usize)
            {
                return Ok(kept.event.clone());
            }
            let number = entry.last() + 1;
            let event = ChannelEvent {
                kind: event.kind,
                id: event.id,
                seq: self.origin + number,
                channel: channel.to_owned(),
                time: event.time,
                data: event.data,
            };
            let bytes = size_of::<Kept>() + event.kind.len() + event.channel.len() + value_bytes(&event.data);
            entry.by_id.insert(event.id, number);
            entry.events.push_back(Kept { event: event.clone(), bytes });
            entry.bytes += bytes;
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
            if entry.events.len() > self.options.per_channel {
                let freed = entry.forget_oldest();
                self.bytes.fetch_sub(freed, Ordering::Relaxed);
            }
            event
        };
        if self.is_over_budget() {
            self.forget_quiet_channels(channel);
        }
        Ok(appended)
    }

    async fn read(&self, channel: &str, after: u64, limit: usize) -> Result<Replay> {
        let Some(entry) = self.channels.get(channel) else {
            let latest = self.origin + self.floor.load(Ordering::SeqCst);
            return Ok(replay_of_nothing(self.origin, after, latest));
        };
        let oldest_known = self.origin + entry.before;
        let latest = self.origin + entry.last();
        // The very first start has forgotten nothing from before it.
        let complete = after >= oldest_known || (entry.before == 0 && self.origin <= FIRST_BOOT);
        // A number from the future was never given out by this log.
        if !complete || after > latest {
            return Ok(Replay::TooOld { latest });
        }
        let skip = after.saturating_sub(oldest_known) as usize;
        Ok(Replay::Events(entry.events.iter().skip(skip).take(limit).map(|kept| kept.event.clone()).collect()))
    }

    async fn latest(&self, channel: &str) -> Result<u64> {
        let number = match self.channels.get(channel) {
            Some(entry) => entry.last(),
            None => self.floor.load(Ordering::SeqCst),
        };
        Ok(self.origin + number)
    }
}

const FIRST_BOOT: u64 = 1 << 32;

fn replay_of_nothing(origin: u64, after: u64, latest: u64) -> Replay {
    let never_had_any = latest == origin && origin <= FIRST_BOOT && after <= latest;
    if after == latest || never_had_any { Replay::Events(Vec::new()) } else { Replay::TooOld { latest } }
}

/// About what a value takes in memory; exact enough for a budget.
fn value_bytes(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(value_bytes).sum(),
            Value::Object(fields) => fields.iter().map(|(name, field)| name.len() + 32 + value_bytes(field)).sum(),
            _ => 0,
        }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::contract;

    fn event(number: u64) -> NewEvent {
        NewEvent {
            kind: "node.created".into(),
            id: sker_types::new_id(),
            time: sker_types::now(),
            data: json!({ "n": number }),
        }
    }

    fn small(per_channel: usize, max_channels: usize) -> MemoryLogOptions {
        MemoryLogOptions { per_channel, max_channels, ..MemoryLogOptions::default() }
    }

    #[tokio::test]
    async fn it_keeps_the_contract() {
        contract::run(|| async { MemoryLog::new(1, MemoryLogOptions::default()) }).await;
        contract::run(|| async { MemoryLog::new(7, MemoryLogOptions::default()) }).await;
        for boot in [1, 7] {
            contract::run_bounded(MemoryLog::new(boot, small(4, 10)), 4).await;
        }
        let boot = std::sync::atomic::AtomicU32::new(1);
        contract::run_lost(MemoryLog::new(1, MemoryLogOptions::default()), async |_| {
            MemoryLog::new(boot.fetch_add(1, Ordering::Relaxed) + 1, MemoryLogOptions::default())
        })
        .await;
    }

    #[tokio::test]
    async fn a_reader_from_before_a_restart_is_told_to_start_over() {
        let log = MemoryLog::new(1, MemoryLogOptions::default());
        let seen = log.append("project:a", event(1)).await.unwrap().seq;
        let log = MemoryLog::new(2, MemoryLogOptions::default());
        assert_eq!(log.read("project:a", seen, 10).await.unwrap(), Replay::TooOld { latest: 2 << 32 });
        assert!(log.append("project:a", event(2)).await.unwrap().seq > seen);
        assert!(matches!(log.read("project:a", seen, 10).await.unwrap(), Replay::TooOld { .. }));
    }

    #[tokio::test]
    async fn a_reader_that_was_away_too_long_is_told_to_start_over() {
        let log = MemoryLog::new(1, small(3, 10));
        let first = log.append("project:a", event(1)).await.unwrap().seq;
        for number in 2..=5 {
            log.append("project:a", event(number)).await.unwrap();
        }
        assert_eq!(log.read("project:a", first, 10).await.unwrap(), Replay::TooOld { latest: first + 4 });
        let Replay::Events(events) = log.read("project:a", first + 1, 10).await.unwrap() else { panic!("too old") };
        assert_eq!(events.iter().map(|event| event.seq).collect::<Vec<_>>(), [first + 2, first + 3, first + 4]);
    }

    #[tokio::test]
    async fn a_forgotten_channel_never_counts_backwards() {
        let log = MemoryLog::new(1, small(10, 2));
        let mut last = 0;
        for number in 0..5 {
            last = log.append("project:a", event(number)).await.unwrap().seq;
        }
        for name in ["b", "c", "d"] {
            log.append(name, event(0)).await.unwrap();
        }
        assert!(log.channels.len() <= 2);
        assert!(log.latest("project:a").await.unwrap() >= last);
        assert!(log.append("project:a", event(6)).await.unwrap().seq > last);
    }

    #[tokio::test]
    async fn large_events_are_held_to_the_budget() {
        let log = MemoryLog::new(1, MemoryLogOptions { max_bytes: 100_000, ..MemoryLogOptions::default() });
        for number in 0..200_u32 {
            let data = json!({ "text": "x".repeat(1_000) });
            let large = NewEvent { data, ..event(0) };
            log.append(if number % 2 == 0 { "a" } else { "b" }, large).await.unwrap();
            assert!(log.bytes.load(Ordering::Relaxed) <= 110_000);
        }
        assert!(log.latest("a").await.unwrap() > FIRST_BOOT);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Whoever reads in pieces, with channels and events being forgotten meanwhile, sees every event in order or is
        /// told that it did not.
        #[test]
        fn readers_miss_nothing_silently(
            steps in proptest::collection::vec((0_usize..6, any::<bool>(), 1_usize..4), 1..120),
            per_channel in 1_usize..6,
            max_channels in 1_usize..5,
            boot in 1_u32..3,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let log = MemoryLog::new(boot, small(per_channel, max_channels));
                let mut appended: Vec<Vec<u64>> = vec![Vec::new(); 6];
                let mut readers = [log.latest("nothing").await.unwrap(); 6];
                for (index, write, limit) in steps {
                    let name = format!("project:{index}");
                    if write {
                        let seq = log.append(&name, event(0)).await.unwrap().seq;
                        assert!(appended[index].last().is_none_or(|last| seq > *last), "a number fell");
                        appended[index].push(seq);
                        continue;
                    }
                    let expected: Vec<u64> =
                        appended[index].iter().copied().filter(|seq| *seq > readers[index]).take(limit).collect();
                    match log.read(&name, readers[index], limit).await.unwrap() {
                        Replay::Events(events) => {
                            assert_eq!(events.iter().map(|event| event.seq).collect::<Vec<_>>(), expected);
                            readers[index] = expected.last().copied().unwrap_or(readers[index]);
                        }
                        Replay::TooOld { latest } => {
                            assert!(latest >= appended[index].last().copied().unwrap_or(0));
                            readers[index] = latest;
                        }
                    }
                }
            });
        }
    }
}
