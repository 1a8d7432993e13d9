//! Who listens to what. One task hands events in; they go to each listener's own bounded queue, and nobody waits for anybody:
//! a listener whose queue is full is told so and is out.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use dashmap::DashMap;
use sker_error::{Code, Error};
use sker_telemetry::{
    Metrics,
    prometheus::{IntCounter, IntGauge},
};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::LiveEvent;

/// What comes to a listener.
#[derive(Clone, Debug)]
pub enum Item {
    /// An event of a channel it listens to.
    Event(Arc<LiveEvent>),
    /// The log of this channel may have more than was heard.
    Look(Arc<str>),
}

#[derive(Debug)]
struct Listener {
    id: u64,
    queue: mpsc::Sender<Item>,
    slow: CancellationToken,
}

#[derive(Debug, Default)]
struct Channel {
    /// The highest number that was handed out.
    last: u64,
    listeners: Vec<Listener>,
}

/// The listeners of every channel.
#[derive(Debug)]
pub struct Hub {
    channels: DashMap<String, Channel>,
    next: AtomicU64,
    queue: usize,
    owing: Notify,
    listeners: IntGauge,
    delivered: IntCounter,
    dropped: IntCounter,
}

impl Hub {
    /// A hub whose listeners have queues of this length.
    pub fn new(queue: usize, metrics: &Metrics) -> Arc<Self> {
        Arc::new(Hub {
            channels: DashMap::new(),
            next: AtomicU64::new(1),
            queue,
            owing: Notify::new(),
            listeners: metrics.gauge("gateway_realtime_listeners", "Sockets and event streams that are open."),
            delivered: metrics.counter("gateway_realtime_events_total", "Events handed to listeners."),
            dropped: metrics.counter("gateway_realtime_slow_total", "Listeners that were too slow and are out."),
        })
    }

    /// A listener that listens to nothing yet.
    pub fn open(self: &Arc<Self>) -> Mailbox {
        let (queue, items) = mpsc::channel(self.queue);
        self.listeners.inc();
        Mailbox {
            id: self.next.fetch_add(1, Ordering::Relaxed),
            hub: Arc::clone(self),
            queue,
            items,
            slow: CancellationToken::new(),
            joined: HashSet::new(),
        }
    }

    /// Hands an event to whoever listens to its channel.
    pub fn publish(&self, event: LiveEvent) {
        let Some(mut channel) = self.channels.get_mut(&event.channel) else { return };
        channel.last = channel.last.max(event.seq);
        self.hand_out(&mut channel, &Item::Event(Arc::new(event)));
    }

    /// Tells listeners of a channel to look into the log.
    pub fn suggest_look(&self, name: &str) {
        if let Some(mut channel) = self.channels.get_mut(name) {
            self.hand_out(&mut channel, &Item::Look(name.into()));
        }
    }

    /// The channels that somebody listens to, each with the highest number that was handed out.
    pub fn channels(&self) -> Vec<(String, u64)> {
        self.channels.iter().map(|entry| (entry.key().clone(), entry.last)).collect()
    }

    /// Remembers that this much of a channel is known.
    pub fn note(&self, name: &str, seq: u64) {
        if let Some(mut channel) = self.channels.get_mut(name) {
            channel.last = channel.last.max(seq);
        }
    }

    /// Somebody could not read the log of a channel: what is in it has to be looked for again, whatever was handed out.
    pub fn owe(&self, name: &str, error: &Error) {
        // That the log is away is said by those who look into it for everybody.
        if error.code() == Code::Internal {
            sker_runtime::log_failure(error);
        }
        if let Some(mut channel) = self.channels.get_mut(name) {
            channel.last = 0;
        }
        self.owing.notify_one();
    }

    /// Waits until something is owed.
    pub async fn owing(&self) {
        self.owing.notified().await;
    }

    fn hand_out(&self, channel: &mut Channel, item: &Item) {
        channel.listeners.retain(|listener| match listener.queue.try_send(item.clone()) {
            Ok(()) => {
                self.delivered.inc();
                true
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.dropped.inc();
                listener.slow.cancel();
                false
            }
        });
    }
}

/// One listener's queue. Dropping it leaves every channel.
#[derive(Debug)]
pub struct Mailbox {
    id: u64,
    hub: Arc<Hub>,
    queue: mpsc::Sender<Item>,
    items: mpsc::Receiver<Item>,
    slow: CancellationToken,
    joined: HashSet<String>,
}

impl Mailbox {
    /// Begins to listen to a channel.
    pub fn join(&mut self, channel: &str) {
        if self.joined.insert(channel.to_owned()) {
            let listener = Listener { id: self.id, queue: self.queue.clone(), slow: self.slow.clone() };
            self.hub.channels.entry(channel.to_owned()).or_default().listeners.push(listener);
        }
    }

    /// Listens no more. What is in the queue already still comes.
    pub fn leave(&mut self, channel: &str) {
        if self.joined.remove(channel) {
            leave(&self.hub, self.id, channel);
        }
    }

    /// The next item.
    pub async fn recv(&mut self) -> Option<Item> {
        // The hub and we hold the sender, so it does not end.
        self.items.recv().await
    }

    /// The next item when there is one already.
    pub fn try_recv(&mut self) -> Option<Item> {
        self.items.try_recv().ok()
    }

    /// Cancelled when the queue was full.
    pub fn slow(&self) -> CancellationToken {
        self.slow.clone()
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        for channel in self.joined.drain() {
            leave(&self.hub, self.id, &channel);
        }
        self.hub.listeners.dec();
    }
}

fn leave(hub: &Hub, id: u64, channel: &str) {
    hub.channels.remove_if_mut(channel, |_, channel| {
        channel.listeners.retain(|listener| listener.id != id);
        channel.listeners.is_empty()
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(channel: &str, seq: u64) -> LiveEvent {
        LiveEvent { kind: "t".into(), channel: channel.into(), seq, text: "{}".into() }
    }

    fn seqs(mailbox: &mut Mailbox) -> Vec<u64> {
        std::iter::from_fn(|| mailbox.try_recv())
            .map(|item| match item {
                Item::Event(event) => event.seq,
                Item::Look(_) => 0,
            })
            .collect()
    }

    #[test]
    fn a_listener_hears_its_channels_and_no_others() {
        let hub = Hub::new(8, &Metrics::new("gateway"));
        let mut mailbox = hub.open();
        mailbox.join("a");
        mailbox.join("a");
        for (channel, seq) in [("a", 1), ("b", 2), ("a", 3)] {
            hub.publish(event(channel, seq));
        }
        hub.suggest_look("a");
        assert_eq!(seqs(&mut mailbox), [1, 3, 0]);
        assert_eq!(hub.channels(), [("a".to_owned(), 3)]);
        mailbox.leave("a");
        hub.publish(event("a", 4));
        assert!(seqs(&mut mailbox).is_empty());
        assert!(hub.channels().is_empty(), "what nobody listens to is forgotten");
    }

    #[test]
    fn a_slow_listener_is_out_and_the_others_hear_everything() {
        let hub = Hub::new(2, &Metrics::new("gateway"));
        let (mut slow, mut quick) = (hub.open(), hub.open());
        slow.join("a");
        quick.join("a");
        for seq in 1..=4 {
            hub.publish(event("a", seq));
            assert_eq!(seqs(&mut quick), [seq]);
        }
        assert!(slow.slow().is_cancelled() && !quick.slow().is_cancelled());
        assert_eq!(seqs(&mut slow), [1, 2]);
        drop((slow, quick));
        assert!(hub.channels().is_empty());
    }
}
