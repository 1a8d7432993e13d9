//! Exchanges, queues and bindings (CONTRACT.md, "AI tasks"). Every implementation of [`crate::Bus`] declares all of it when
//! it starts.

/// Work for brokers, by type and priority.
pub const LLM_DIRECT: &str = "llm.direct";
/// Domain events; the routing key is the event's type.
pub const EVENTS_TOPIC: &str = "events.topic";
/// Channel events for every gateway.
pub const REALTIME_FANOUT: &str = "realtime.fanout";
/// Results of tasks.
pub const AI_RESULTS: &str = "ai.results";
/// Dead letters; the routing key is [`DEAD_LETTER_KEY`].
pub const DEAD_LETTERS: &str = "sker.dlx";
/// Messages whose key nobody is bound to.
pub const UNROUTED: &str = "sker.unrouted";

/// Work of normal priority.
pub const PROCESS_QUEUE: &str = "llm.process.queue";
/// Work of urgent priority.
pub const PROCESS_QUEUE_URGENT: &str = "llm.process.queue.urgent";
/// Work of high priority.
pub const PROCESS_QUEUE_HIGH: &str = "llm.process.queue.high";
/// Work of low priority.
pub const PROCESS_QUEUE_LOW: &str = "llm.process.queue.low";
/// `batch_processing` of any priority.
pub const BATCH_PROCESS_QUEUE: &str = "llm.batch.process.queue";
/// Results, for whoever wants them.
pub const RESULT_NOTIFY_QUEUE: &str = "result.notify.queue";
/// Every domain event, for whoever keeps them.
pub const EVENTS_STORAGE_QUEUE: &str = "events.storage.queue";
/// Dead letters until they are looked at.
pub const DEAD_LETTER_QUEUE: &str = "sker.dead.queue";
/// What nobody was bound to, until it is looked at.
pub const UNROUTED_QUEUE: &str = "sker.unrouted.queue";
/// How names of the gateways' exclusive queues begin.
pub const WEBSOCKET_QUEUE_PREFIX: &str = "events.websocket.";

/// The routing key of dead letters.
pub const DEAD_LETTER_KEY: &str = "dead";
/// The routing key of results.
pub const RESULT_KEY: &str = "result.notify";
/// Header of a dead letter: the queue it died in. The name is RabbitMQ's.
pub const FIRST_DEATH_QUEUE: &str = "x-first-death-queue";
/// Header of a dead letter: `rejected` or `delivery_limit`. The name and the words are RabbitMQ's.
pub const FIRST_DEATH_REASON: &str = "x-first-death-reason";

/// How an exchange chooses queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeKind {
    /// The routing key is the binding's.
    Direct,
    /// The routing key matches the binding's pattern: `*` is one word, `#` any number of them.
    Topic,
    /// Every queue that is bound.
    Fanout,
}

/// An exchange, durable.
#[derive(Clone, Copy, Debug)]
pub struct Exchange {
    /// Its name.
    pub name: &'static str,
    /// How it chooses queues.
    pub kind: ExchangeKind,
    /// Where messages go that reach no queue.
    pub alternate: Option<&'static str>,
    /// Whether a publisher is told of messages that reach no queue.
    pub mandatory: bool,
}

/// What a full queue does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// Takes no more; the publisher is told and keeps the message.
    RejectPublish,
    /// Forgets its oldest messages. For queues that no one needs to empty.
    DropHead,
}

/// A queue, durable; on RabbitMQ a quorum queue.
#[derive(Clone, Copy, Debug)]
pub struct Queue {
    /// Its name.
    pub name: &'static str,
    /// Messages that may wait in it.
    pub max_length: usize,
    /// Bytes that may wait in it.
    pub max_bytes: usize,
    /// What it does beyond either.
    pub overflow: Overflow,
    /// Deliveries of one message before it is a dead letter.
    pub delivery_limit: Option<u32>,
    /// Whether rejected messages and those beyond the delivery limit go to [`DEAD_LETTERS`].
    pub dead_letters: bool,
}

/// A binding of a queue to an exchange.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    /// Where messages come from.
    pub exchange: &'static str,
    /// The key or the pattern.
    pub key: &'static str,
    /// Where they go.
    pub queue: &'static str,
}

/// Every exchange. Work that reaches no queue is reported to its publisher, which keeps it; live events are for whoever
/// listens; anything else without a queue is kept to be looked at.
pub const EXCHANGES: &[Exchange] = &[
    Exchange { name: LLM_DIRECT, kind: ExchangeKind::Direct, alternate: None, mandatory: true },
    Exchange { name: EVENTS_TOPIC, kind: ExchangeKind::Topic, alternate: Some(UNROUTED), mandatory: true },
    Exchange { name: REALTIME_FANOUT, kind: ExchangeKind::Fanout, alternate: None, mandatory: false },
    Exchange { name: AI_RESULTS, kind: ExchangeKind::Direct, alternate: Some(UNROUTED), mandatory: true },
    Exchange { name: DEAD_LETTERS, kind: ExchangeKind::Direct, alternate: Some(UNROUTED), mandatory: true },
    Exchange { name: UNROUTED, kind: ExchangeKind::Fanout, alternate: None, mandatory: false },
];

const fn work(name: &'static str) -> Queue {
    Queue {
        name,
        max_length: 100_000,
        max_bytes: 64 << 20,
        overflow: Overflow::RejectPublish,
        delivery_limit: Some(20),
        dead_letters: true,
    }
}

const fn kept(name: &'static str) -> Queue {
    Queue {
        name,
        max_length: 10_000,
        max_bytes: 4 << 20,
        overflow: Overflow::DropHead,
        delivery_limit: None,
        dead_letters: false,
    }
}

/// Every queue but the exclusive ones.
pub const QUEUES: &[Queue] = &[
    work(PROCESS_QUEUE),
    work(PROCESS_QUEUE_URGENT),
    work(PROCESS_QUEUE_HIGH),
    work(PROCESS_QUEUE_LOW),
    work(BATCH_PROCESS_QUEUE),
    kept(RESULT_NOTIFY_QUEUE),
    kept(EVENTS_STORAGE_QUEUE),
    kept(DEAD_LETTER_QUEUE),
    kept(UNROUTED_QUEUE),
];

/// Every binding but those of exclusive queues.
pub const BINDINGS: &[Binding] = &[
    Binding { exchange: LLM_DIRECT, key: "llm.process.normal", queue: PROCESS_QUEUE },
    Binding { exchange: LLM_DIRECT, key: "llm.process.urgent", queue: PROCESS_QUEUE_URGENT },
    Binding { exchange: LLM_DIRECT, key: "llm.process.high", queue: PROCESS_QUEUE_HIGH },
    Binding { exchange: LLM_DIRECT, key: "llm.process.low", queue: PROCESS_QUEUE_LOW },
    Binding { exchange: LLM_DIRECT, key: "llm.batch", queue: BATCH_PROCESS_QUEUE },
    Binding { exchange: AI_RESULTS, key: RESULT_KEY, queue: RESULT_NOTIFY_QUEUE },
    Binding { exchange: EVENTS_TOPIC, key: "#", queue: EVENTS_STORAGE_QUEUE },
    Binding { exchange: DEAD_LETTERS, key: DEAD_LETTER_KEY, queue: DEAD_LETTER_QUEUE },
    Binding { exchange: UNROUTED, key: "", queue: UNROUTED_QUEUE },
];

/// The work queues with the share of attention that each gets while all have work, so that low priorities are slow but do
/// not starve.
pub const WORK_QUEUES: &[(&str, u32)] = &[
    (PROCESS_QUEUE_URGENT, 8),
    (PROCESS_QUEUE_HIGH, 4),
    (PROCESS_QUEUE, 2),
    (PROCESS_QUEUE_LOW, 1),
    (BATCH_PROCESS_QUEUE, 1),
];

/// The limits of exclusive queues.
pub const EXCLUSIVE: Queue = Queue {
    name: "",
    max_length: 10_000,
    max_bytes: 16 << 20,
    overflow: Overflow::DropHead,
    delivery_limit: None,
    dead_letters: false,
};

/// Deliveries that an exclusive consumer holds at a time.
pub const EXCLUSIVE_PREFETCH: u16 = 256;

/// The exchange and routing key of the wake-up for a task of that type and priority. An unknown priority counts as normal.
pub fn work_queue(kind: &str, priority: &str) -> (&'static str, &'static str) {
    let key = match (kind, priority) {
        ("batch_processing", _) => "llm.batch",
        (_, "urgent") => "llm.process.urgent",
        (_, "high") => "llm.process.high",
        (_, "low") => "llm.process.low",
        _ => "llm.process.normal",
    };
    (LLM_DIRECT, key)
}

/// Whether a topic pattern matches a routing key (AMQP 0-9-1, section 3.1.3.3): both are words with dots between, `*`
/// stands for one word and `#` for none or more.
pub fn topic_matches(pattern: &str, key: &str) -> bool {
    let pattern: Vec<&str> = words(pattern);
    let key: Vec<&str> = words(key);
    // Greedy with one way back, as with wildcards in file names: `#` first stands for nothing and takes one more word
    // whenever what follows fails.
    let (mut at, mut word) = (0, 0);
    let mut way_back: Option<(usize, usize)> = None;
    while word < key.len() {
        match pattern.get(at) {
            Some(&"#") => {
                way_back = Some((at, word));
                at += 1;
            }
            Some(&expected) if expected == "*" || expected == key[word] => {
                at += 1;
                word += 1;
            }
            _ => match way_back {
                Some((hash, from)) => {
                    way_back = Some((hash, from + 1));
                    at = hash + 1;
                    word = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|word| *word == "#")
}

fn words(text: &str) -> Vec<&str> {
    if text.is_empty() { Vec::new() } else { text.split('.').collect() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, exponential and obvious.
    fn by_definition(pattern: &[&str], key: &[&str]) -> bool {
        match (pattern.split_first(), key.split_first()) {
            (None, None) => true,
            (Some((&"#", rest)), None) => by_definition(rest, key),
            (Some((&"#", rest)), Some((_, key_rest))) => by_definition(rest, key) || by_definition(pattern, key_rest),
            (Some((word, rest)), Some((first, key_rest))) => {
                (*word == "*" || word == first) && by_definition(rest, key_rest)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn topics_match_as_defined(
            pattern in proptest::collection::vec(prop::sample::select(vec!["a", "b", "*", "#"]), 0..7),
            key in proptest::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 0..7),
        ) {
            prop_assert_eq!(topic_matches(&pattern.join("."), &key.join(".")), by_definition(&pattern, &key));
        }
    }

    #[test]
    fn every_binding_names_what_exists() {
        for binding in BINDINGS {
            assert!(EXCHANGES.iter().any(|exchange| exchange.name == binding.exchange), "{binding:?}");
            assert!(QUEUES.iter().any(|queue| queue.name == binding.queue), "{binding:?}");
        }
        for exchange in EXCHANGES {
            let known = |name| EXCHANGES.iter().any(|other| other.name == name);
            assert!(exchange.alternate.is_none_or(known), "{exchange:?}");
        }
        for (queue, _) in WORK_QUEUES {
            assert!(QUEUES.iter().any(|known| known.name == *queue), "{queue}");
        }
    }

    #[test]
    fn every_type_and_priority_has_a_queue() {
        for kind in ["content_fusion", "batch_processing"] {
            for priority in ["low", "normal", "high", "urgent", "unheard_of"] {
                let (exchange, key) = work_queue(kind, priority);
                assert!(BINDINGS.iter().any(|binding| binding.exchange == exchange && binding.key == key));
            }
        }
    }
}
