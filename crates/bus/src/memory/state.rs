use std::collections::{BTreeMap, HashMap, VecDeque};

use sker_error::{Error, Result};
use sker_types::Uuid;
use tokio::sync::mpsc;

use crate::{
    Message, Outcome,
    topology::{
        Binding, DEAD_LETTER_KEY, DEAD_LETTERS, EXCLUSIVE, Exchange, ExchangeKind, FIRST_DEATH_QUEUE,
        FIRST_DEATH_REASON, Overflow, Queue, topic_matches,
    },
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ConsumerId(pub(super) u64);

/// Names one delivery. Tags grow, so they also tell the order of deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Tag(u64);

/// A message on its way to a consumer.
#[derive(Debug)]
pub(super) struct Handed {
    pub(super) tag: Tag,
    pub(super) message: Message,
    pub(super) attempt: u32,
}

/// All exchanges and queues, and what becomes of messages in them. No clock, no waiting.
#[derive(Debug)]
pub(super) struct State {
    exchanges: HashMap<String, Bound>,
    queues: HashMap<String, Waiting>,
    /// Which queue a consumer takes from, and whether that queue goes with it.
    consumers: HashMap<ConsumerId, String>,
    in_flight: BTreeMap<Tag, InFlight>,
    next_tag: u64,
}

#[derive(Debug)]
struct Bound {
    exchange: Exchange,
    bindings: Vec<(String, String)>,
}

#[derive(Debug)]
struct Waiting {
    spec: Queue,
    exclusive: bool,
    ready: VecDeque<Entry>,
    bytes: usize,
    /// In turn: the first one that has room is served next.
    consumers: VecDeque<Taker>,
}

#[derive(Debug)]
struct Entry {
    message: Message,
    /// Deliveries so far.
    attempts: u32,
}

#[derive(Debug)]
struct Taker {
    id: ConsumerId,
    prefetch: usize,
    in_flight: usize,
    deliveries: mpsc::UnboundedSender<Handed>,
}

#[derive(Debug)]
struct InFlight {
    queue: String,
    consumer: ConsumerId,
    entry: Entry,
}

impl State {
    pub(super) fn new(exchanges: &[Exchange], queues: &[Queue], bindings: &[Binding]) -> Self {
        let bound = |exchange: &Exchange| Bound {
            exchange: *exchange,
            bindings: bindings
                .iter()
                .filter(|binding| binding.exchange == exchange.name)
                .map(|binding| (binding.key.to_owned(), binding.queue.to_owned()))
                .collect(),
        };
        State {
            exchanges: exchanges.iter().map(|exchange| (exchange.name.to_owned(), bound(exchange))).collect(),
            queues: queues.iter().map(|queue| (queue.name.to_owned(), Waiting::new(*queue, false))).collect(),
            consumers: HashMap::new(),
            in_flight: BTreeMap::new(),
            next_tag: 0,
        }
    }

    /// Takes messages in; answers the ids of those it did not take.
    pub(super) fn publish(&mut self, exchange: &str, messages: Vec<Message>) -> Result<Vec<Uuid>> {
        if !self.exchanges.contains_key(exchange) {
            return Err(Error::not_found(&format!("exchange {exchange}")));
        }
        let mut refused = Vec::new();
        for message in messages {
            let id = message.id;
            if !self.route(exchange, message) {
                refused.push(id);
            }
        }
        Ok(refused)
    }

    pub(super) fn declare_exclusive(&mut self, queue: &str, exchange: &str) -> Result<()> {
        let bound =
            self.exchanges.get_mut(exchange).ok_or_else(|| Error::not_found(&format!("exchange {exchange}")))?;
        bound.bindings.push(("#".to_owned(), queue.to_owned()));
        self.queues.insert(queue.to_owned(), Waiting::new(EXCLUSIVE, true));
        Ok(())
    }

    pub(super) fn consume(
        &mut self,
        queue: &str,
        id: ConsumerId,
        prefetch: u16,
        deliveries: mpsc::UnboundedSender<Handed>,
    ) -> Result<()> {
        let waiting = self.queues.get_mut(queue).ok_or_else(|| Error::not_found(&format!("queue {queue}")))?;
        // AMQP reads 0 as "no limit"; nobody wants that here.
        let prefetch = usize::from(prefetch.max(1));
        waiting.consumers.push_back(Taker { id, prefetch, in_flight: 0, deliveries });
        self.consumers.insert(id, queue.to_owned());
        self.deliver(queue);
        Ok(())
    }

    /// Ends a consumer. `untouched` is what it never looked at: that goes back in its old order and uncounted. What it
    /// looked at stays its own until settled.
    pub(super) fn cancel(&mut self, consumer: ConsumerId, untouched: Vec<Tag>) {
        for tag in untouched.into_iter().rev() {
            let Some(InFlight { queue, mut entry, .. }) = self.in_flight.remove(&tag) else { continue };
            entry.attempts -= 1;
            if let Some(waiting) = self.queues.get_mut(&queue) {
                waiting.push_front(entry);
            }
        }
        let Some(queue) = self.consumers.remove(&consumer) else { return };
        let Some(waiting) = self.queues.get_mut(&queue) else { return };
        waiting.consumers.retain(|taker| taker.id != consumer);
        if waiting.exclusive {
            self.remove_exclusive(&queue);
        } else {
            self.deliver(&queue);
        }
    }

    pub(super) fn settle(&mut self, tag: Tag, outcome: Outcome) {
        let Some(InFlight { queue, consumer, entry }) = self.in_flight.remove(&tag) else { return };
        let Some(waiting) = self.queues.get_mut(&queue) else { return };
        if let Some(taker) = waiting.consumers.iter_mut().find(|taker| taker.id == consumer) {
            taker.in_flight -= 1;
        }
        let limit = waiting.spec.delivery_limit;
        let dead_letters = waiting.spec.dead_letters;
        match outcome {
            Outcome::Ack => {}
            Outcome::Requeue if limit.is_none_or(|limit| entry.attempts < limit) => waiting.push_back(entry),
            Outcome::Requeue if dead_letters => self.bury(&queue, "delivery_limit", entry.message),
            Outcome::Reject if dead_letters => self.bury(&queue, "rejected", entry.message),
            Outcome::Requeue | Outcome::Reject => {}
        }
        self.deliver(&queue);
    }

    pub(super) fn depth(&self, queue: &str) -> Option<u64> {
        self.queues.get(queue).map(|waiting| waiting.ready.len() as u64)
    }

    /// Puts a message into every queue that its key leads to. All of them take it or none does, and then it is refused.
    fn route(&mut self, exchange: &str, message: Message) -> bool {
        let Some(bound) = self.exchanges.get(exchange) else { return false };
        let Exchange { kind, alternate, mandatory, .. } = bound.exchange;
        let mut queues: Vec<String> = Vec::new();
        for (key, queue) in &bound.bindings {
            let matches = match kind {
                ExchangeKind::Direct => *key == message.key,
                ExchangeKind::Topic => topic_matches(key, &message.key),
                ExchangeKind::Fanout => true,
            };
            if matches && !queues.contains(queue) {
                queues.push(queue.clone());
            }
        }
        if queues.is_empty() {
            return match alternate {
                Some(alternate) => self.route(alternate, message),
                None => !mandatory,
            };
        }
        let takes = |queue: &String| self.queues.get(queue).is_some_and(|waiting| waiting.takes(&message));
        if !queues.iter().all(takes) {
            return false;
        }
        for queue in queues {
            if let Some(waiting) = self.queues.get_mut(&queue) {
                waiting.push_back(Entry { message: message.clone(), attempts: 0 });
                waiting.drop_overflow();
            }
            self.deliver(&queue);
        }
        true
    }

    fn bury(&mut self, queue: &str, reason: &str, mut message: Message) {
        message.headers.entry(FIRST_DEATH_QUEUE.to_owned()).or_insert_with(|| queue.to_owned());
        message.headers.entry(FIRST_DEATH_REASON.to_owned()).or_insert_with(|| reason.to_owned());
        message.key = DEAD_LETTER_KEY.to_owned();
        if !self.route(DEAD_LETTERS, message) {
            tracing::error!(bus.queue = queue, "a dead letter was refused and is lost");
        }
    }

    /// Hands out what waits, to the consumers in turn, as far as they have room.
    fn deliver(&mut self, queue: &str) {
        let Some(waiting) = self.queues.get_mut(queue) else { return };
        // The taker is turned to the back of the line as it is found, so that each has its turn.
        while !waiting.ready.is_empty()
            && let Some(position) = waiting.consumers.iter().position(|taker| taker.in_flight < taker.prefetch)
            && let Some(mut taker) = waiting.consumers.remove(position)
            && let Some(mut entry) = waiting.pop_front()
        {
            entry.attempts += 1;
            let tag = Tag(self.next_tag);
            self.next_tag += 1;
            let handed = Handed { tag, message: entry.message.clone(), attempt: entry.attempts };
            if taker.deliveries.send(handed).is_err() {
                // It is being dropped. Its cancellation is on the way, gives back what it never looked at, and removes its
                // queue if that is its own.
                entry.attempts -= 1;
                waiting.push_front(entry);
                continue;
            }
            taker.in_flight += 1;
            self.in_flight.insert(tag, InFlight { queue: queue.to_owned(), consumer: taker.id, entry });
            waiting.consumers.push_back(taker);
        }
    }

    fn remove_exclusive(&mut self, queue: &str) {
        self.queues.remove(queue);
        for bound in self.exchanges.values_mut() {
            bound.bindings.retain(|(_, bound_queue)| bound_queue != queue);
        }
        self.in_flight.retain(|_, in_flight| in_flight.queue != queue);
    }
}

impl Waiting {
    fn new(spec: Queue, exclusive: bool) -> Self {
        Waiting { spec, exclusive, ready: VecDeque::new(), bytes: 0, consumers: VecDeque::new() }
    }

    fn takes(&self, message: &Message) -> bool {
        self.spec.overflow == Overflow::DropHead
            || (self.ready.len() < self.spec.max_length && self.bytes + message.bytes() <= self.spec.max_bytes)
    }

    fn drop_overflow(&mut self) {
        if self.spec.overflow == Overflow::DropHead {
            while self.ready.len() > self.spec.max_length || self.bytes > self.spec.max_bytes {
                self.pop_front();
            }
        }
    }

    fn push_back(&mut self, entry: Entry) {
        self.bytes += entry.message.bytes();
        self.ready.push_back(entry);
    }

    fn push_front(&mut self, entry: Entry) {
        self.bytes += entry.message.bytes();
        self.ready.push_front(entry);
    }

    fn pop_front(&mut self) -> Option<Entry> {
        let entry = self.ready.pop_front()?;
        self.bytes -= entry.message.bytes();
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::topology::{BINDINGS, EXCHANGES, LLM_DIRECT, PROCESS_QUEUE, QUEUES};

    const LIMIT: u32 = 3;

    #[derive(Clone, Debug)]
    enum Step {
        Publish,
        Join { prefetch: u16 },
        Leave { which: usize },
        Settle { which: usize, outcome: Outcome },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let outcome = prop::sample::select(vec![Outcome::Ack, Outcome::Requeue, Outcome::Reject]);
        let step = prop_oneof![
            4 => Just(Step::Publish),
            1 => (1_u16..4).prop_map(|prefetch| Step::Join { prefetch }),
            1 => any::<usize>().prop_map(|which| Step::Leave { which }),
            4 => (any::<usize>(), outcome).prop_map(|(which, outcome)| Step::Settle { which, outcome }),
        ];
        prop::collection::vec(step, 1..150)
    }

    struct Member {
        id: ConsumerId,
        prefetch: usize,
        handed: mpsc::UnboundedReceiver<Handed>,
        holds: Vec<Handed>,
    }

    #[test]
    fn what_a_dropped_consumer_gives_back_goes_to_those_who_wait() {
        let mut state = State::new(EXCHANGES, QUEUES, BINDINGS);
        let message = |number: u32| Message::json("task.wake", "test", "llm.process.normal", &number).unwrap();
        let (deliveries, mut leaving) = mpsc::unbounded_channel();
        state.consume(PROCESS_QUEUE, ConsumerId(0), 2, deliveries).unwrap();
        state.publish(LLM_DIRECT, vec![message(1)]).unwrap();
        let (deliveries, mut staying) = mpsc::unbounded_channel();
        state.consume(PROCESS_QUEUE, ConsumerId(1), 5, deliveries).unwrap();
        // It stops to listen, and before the bus has heard so, another message comes in.
        leaving.close();
        let untouched = leaving.try_recv().unwrap().tag;
        state.publish(LLM_DIRECT, vec![message(2)]).unwrap();
        state.cancel(ConsumerId(0), vec![untouched]);
        let mut got: Vec<u32> = Vec::new();
        while let Ok(handed) = staying.try_recv() {
            assert_eq!(handed.attempt, 1);
            got.push(handed.message.parse().unwrap());
        }
        assert_eq!(got, [2, 1]);
        assert_eq!(state.depth(PROCESS_QUEUE), Some(0));
    }

    proptest! {
        /// Whatever consumers do, each message is in exactly one place: waiting, in one consumer's hands, done or dead.
        #[test]
        fn no_message_is_lost_or_doubled(steps in steps()) {
            let queues: Vec<Queue> =
                QUEUES.iter().map(|queue| Queue { delivery_limit: queue.delivery_limit.map(|_| LIMIT), ..*queue }).collect();
            let mut state = State::new(EXCHANGES, &queues, BINDINGS);
            let mut members: Vec<Member> = Vec::new();
            let (mut published, mut acknowledged, mut dead, mut joined) = (0_u64, 0_u64, 0_u64, 0_u64);
            for step in steps {
                match step {
                    Step::Publish => {
                        let message = Message::json("task.wake", "test", "llm.process.normal", &published).unwrap();
                        prop_assert!(state.publish(LLM_DIRECT, vec![message]).unwrap().is_empty());
                        published += 1;
                    }
                    Step::Join { prefetch } => {
                        let (deliveries, handed) = mpsc::unbounded_channel();
                        state.consume(PROCESS_QUEUE, ConsumerId(joined), prefetch, deliveries).unwrap();
                        members.push(Member { id: ConsumerId(joined), prefetch: prefetch.into(), handed, holds: Vec::new() });
                        joined += 1;
                    }
                    Step::Leave { which } if !members.is_empty() => {
                        let member = members.swap_remove(which % members.len());
                        state.cancel(member.id, member.holds.iter().map(|handed| handed.tag).collect());
                    }
                    Step::Settle { which, outcome } => {
                        let holders: Vec<usize> =
                            (0..members.len()).filter(|index| !members[*index].holds.is_empty()).collect();
                        if !holders.is_empty() {
                            let handed = members[holders[which % holders.len()]].holds.remove(0);
                            state.settle(handed.tag, outcome);
                            match outcome {
                                Outcome::Ack => acknowledged += 1,
                                Outcome::Reject => dead += 1,
                                Outcome::Requeue => dead += u64::from(handed.attempt >= LIMIT),
                            }
                        }
                    }
                    Step::Leave { .. } => {}
                }
                for member in &mut members {
                    while let Ok(handed) = member.handed.try_recv() {
                        prop_assert!(handed.attempt >= 1 && handed.attempt <= LIMIT);
                        member.holds.push(handed);
                    }
                    prop_assert!(member.holds.len() <= member.prefetch, "prefetch is kept");
                }
                let waiting = state.depth(PROCESS_QUEUE).unwrap();
                let in_hand: usize = members.iter().map(|member| member.holds.len()).sum();
                prop_assert_eq!(published, waiting + in_hand as u64 + acknowledged + dead);
                prop_assert_eq!(state.depth(crate::topology::DEAD_LETTER_QUEUE).unwrap(), dead);
                prop_assert_eq!(state.in_flight.len(), in_hand);
                let room = members.iter().any(|member| member.holds.len() < member.prefetch);
                prop_assert!(waiting == 0 || !room, "nothing waits while somebody has room");
            }
        }
    }
}
