//! The log against a model that a reader can check by eye.

use proptest::prelude::*;
use sker_cache::{NewEvent, RealtimeLog, RedisLogOptions, Replay};
use sker_types::ChannelEvent;

use crate::support::{Raw, event, log, shared};

#[derive(Clone, Debug)]
enum Step {
    Append,
    /// An event of the past, by how long ago.
    Repeat(usize),
    /// After any number that was ever given out, by how long ago.
    Read {
        seen: usize,
        limit: usize,
    },
    ReadFuture(u64),
    Latest,
    Lose,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => Just(Step::Append),
        3 => (0_usize..12).prop_map(Step::Repeat),
        6 => (0_usize..16, 0_usize..8).prop_map(|(seen, limit)| Step::Read { seen, limit }),
        1 => (1_u64..1_000).prop_map(Step::ReadFuture),
        3 => Just(Step::Latest),
        1 => Just(Step::Lose),
    ]
}

/// One channel.
#[derive(Default)]
struct Model {
    /// All since the log was last lost, forgotten ones included; and the number before the first.
    life: Vec<ChannelEvent>,
    base: Option<u64>,
    /// Every number that a reader may have.
    numbers: Vec<u64>,
    /// Every event that was ever appended.
    events: Vec<NewEvent>,
}

impl Model {
    fn kept(&self, per_channel: usize) -> &[ChannelEvent] {
        &self.life[self.life.len().saturating_sub(per_channel)..]
    }

    fn last(&self) -> Option<u64> {
        self.life.last().map(|event| event.seq).or(self.base)
    }

    fn read(&self, after: u64, limit: usize, per_channel: usize) -> Option<Vec<ChannelEvent>> {
        let kept = self.kept(per_channel);
        let before = kept.first().map_or(self.base?, |event| event.seq - 1);
        (before..=self.last()?)
            .contains(&after)
            .then(|| kept.iter().filter(|event| event.seq > after).take(limit).cloned().collect())
    }

    fn saw_base(&mut self, base: u64) {
        assert!(self.numbers.iter().all(|number| base > *number), "a base among old numbers");
        self.base = Some(base);
        self.numbers.push(base);
    }
}

async fn run(steps: Vec<Step>, per_channel: usize) {
    const CHANNEL: &str = "project:a";
    let config = shared();
    let log = log(&config, RedisLogOptions { per_channel, ..RedisLogOptions::default() });
    let mut raw = Raw::of(&config).await;
    let mut model = Model::default();
    let back = |length: usize, by: usize| length.checked_sub(by + 1);
    for step in steps {
        match step {
            Step::Append | Step::Repeat(_) => {
                let new = match step {
                    Step::Repeat(by) if let Some(index) = back(model.events.len(), by) => model.events[index].clone(),
                    _ => event(model.events.len() as u64),
                };
                let appended = log.append(CHANNEL, new.clone()).await.unwrap();
                if let Some(there) = model.kept(per_channel).iter().find(|event| event.id == new.id) {
                    assert_eq!(&appended, there);
                    continue;
                }
                assert_eq!((&appended.kind, appended.id, &appended.data), (&new.kind, new.id, &new.data));
                match model.last() {
                    Some(last) => assert_eq!(appended.seq, last + 1),
                    None => model.saw_base(appended.seq - 1),
                }
                model.numbers.push(appended.seq);
                model.life.push(appended);
                model.events.push(new);
            }
            Step::Read { seen, limit } => {
                let Some(index) = back(model.numbers.len(), seen) else { continue };
                let after = model.numbers[index];
                let replay = log.read(CHANNEL, after, limit).await.unwrap();
                match (replay, model.read(after, limit, per_channel)) {
                    (Replay::Events(events), Some(expected)) => assert_eq!(events, expected),
                    (Replay::TooOld { latest }, None) => match model.last() {
                        Some(last) => assert_eq!(latest, last),
                        None => model.saw_base(latest),
                    },
                    (replay, expected) => panic!("after {after}: {replay:?} and not {expected:?}"),
                }
            }
            Step::ReadFuture(by) => {
                let Some(last) = model.last() else { continue };
                assert_eq!(log.read(CHANNEL, last + by, 10).await.unwrap(), Replay::TooOld { latest: last });
            }
            Step::Latest => {
                let latest = log.latest(CHANNEL).await.unwrap();
                match model.last() {
                    Some(last) => assert_eq!(latest, last),
                    None => model.saw_base(latest),
                }
            }
            Step::Lose => {
                raw.lose().await;
                model.life.clear();
                model.base = None;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn the_log_does_what_the_model_says(
        steps in proptest::collection::vec(step(), 1..150),
        per_channel in 1_usize..8,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(steps, per_channel));
    }
}
