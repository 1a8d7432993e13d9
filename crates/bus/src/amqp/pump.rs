//! A task per consumer that moves deliveries from its channel to whoever takes them.
//!
//! lapin's own stream cannot be handed out: after some errors it stays pending for ever, it cannot give back what was never
//! taken, and what fails while it is dropped ends the whole connection.

use std::{task::Poll, time::Duration};

use async_trait::async_trait;
use futures::{Stream, StreamExt, stream};
use lapin::{
    Acker, Channel,
    options::{BasicAckOptions, BasicCancelOptions, BasicNackOptions, BasicRejectOptions},
};
use sker_error::{Error, Result};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    consume::What,
    envelope,
    session::{Failure, Session},
};
use crate::{
    Delivery, Outcome, Settle,
    topology::{EXCLUSIVE_PREFETCH, QUEUES},
};

/// Deliveries between the pump and the consumer.
const UNDERWAY: usize = 32;
/// How often a channel is looked at that tells nothing by itself.
const LOOK: Duration = Duration::from_secs(1);
/// An exclusive queue's deliveries are acknowledged together: that many, or those of that time.
const ACK_AT: u16 = EXCLUSIVE_PREFETCH / 10;
const ACK_AFTER: Duration = Duration::from_millis(20);

/// Where a pump puts deliveries.
pub(super) struct Out(mpsc::Sender<Handed>);

/// What a pump is to do with deliveries.
struct Kind {
    queue: String,
    /// Of an exclusive queue: acknowledged as they are taken, and settling them is nothing.
    live: bool,
    /// Whether a message that is rejected is kept somewhere.
    dead_letters: bool,
    max_bytes: usize,
}

struct Handed {
    delivery: Delivery,
    /// Told to be useless when the channel is gone; not for those that are settled already.
    acker: Option<Acker>,
}

impl Handed {
    fn is_usable(&self) -> bool {
        self.acker.as_ref().is_none_or(Acker::usable)
    }
}

/// Moves the deliveries of one consumer.
pub(super) struct Pump {
    session: Session,
    channel: Channel,
    deliveries: lapin::Consumer,
    kind: Kind,
    give_back: mpsc::UnboundedSender<Acker>,
    given_back: mpsc::UnboundedReceiver<Acker>,
    /// The last delivery that is not acknowledged yet of an exclusive queue, and how many there are.
    unacknowledged: Option<Acker>,
    count: u16,
    acknowledge_at: Instant,
}

/// Why a pump stops.
enum End {
    /// There is nothing more to come.
    Lost,
    /// Nobody takes any more.
    Left,
}

impl Pump {
    /// A pump and what comes out of it. The stream ends when the queue, the channel or the connection is gone.
    pub(super) fn new(
        session: Session,
        (channel, deliveries): (Channel, lapin::Consumer),
        what: What<'_>,
        max_bytes: usize,
    ) -> (Pump, Out, impl Stream<Item = Delivery> + Send + 'static) {
        let queue = what.queue();
        let known = QUEUES.iter().find(|known| known.name == queue);
        let kind = Kind {
            queue: queue.to_owned(),
            live: matches!(what, What::Exclusive { .. }),
            dead_letters: known.is_some_and(|known| known.dead_letters),
            max_bytes,
        };
        let (out, mut handed) = mpsc::channel::<Handed>(UNDERWAY);
        let (give_back, given_back) = mpsc::unbounded_channel();
        let pump = Pump {
            session,
            channel,
            deliveries,
            kind,
            give_back,
            given_back,
            unacknowledged: None,
            count: 0,
            acknowledge_at: Instant::now(),
        };
        let stream = stream::poll_fn(move |context| {
            loop {
                let handed = std::task::ready!(handed.poll_recv(context));
                // What was underway when the channel went will be delivered again.
                if handed.as_ref().is_none_or(Handed::is_usable) {
                    return Poll::Ready(handed.map(|handed| handed.delivery));
                }
            }
        });
        (pump, Out(out), stream)
    }

    /// Runs until the consumer is dropped and all it has in hand is settled, the channel is gone, or `closing`.
    pub(super) async fn run(mut self, out: Out, closing: CancellationToken) {
        if let End::Left = self.pump(out, &closing).await {
            self.leave(&closing).await;
        }
        self.session.retire(self.channel).await;
    }

    /// Moves deliveries while there is somebody who takes them. `out` ends with it, and with that the consumer's stream.
    async fn pump(&mut self, Out(out): Out, closing: &CancellationToken) -> End {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut next: Option<Handed> = None;
        loop {
            tokio::select! {
                () = self.session.ended().cancelled() => return End::Lost,
                () = closing.cancelled() => return End::Left,
                () = out.closed() => return End::Left,
                _ = look.tick() => if !self.channel.status().connected() {
                    return End::Lost;
                },
                Some(acker) = self.given_back.recv() => requeue(&self.session, acker).await,
                () = sleep_until(self.acknowledge_at), if self.unacknowledged.is_some() => {
                    self.acknowledge().await;
                }
                permit = out.reserve(), if next.is_some() => if let (Ok(permit), Some(handed)) = (permit, next.take()) {
                    permit.send(handed);
                },
                delivery = self.deliveries.next(), if next.is_none() => match delivery {
                    Some(Ok(delivery)) => next = self.receive(delivery).await,
                    Some(Err(_)) | None => return End::Lost,
                },
            }
        }
    }

    async fn receive(&mut self, mut delivery: lapin::message::Delivery) -> Option<Handed> {
        let attempt = envelope::attempt(&delivery);
        let acker = delivery.acker.clone();
        let message = match envelope::read(&mut delivery, self.kind.max_bytes) {
            Ok(message) => message,
            Err(why) if self.kind.dead_letters => {
                tracing::warn!(bus.queue = self.kind.queue, "a message is rejected: {why}");
                // It is delivered again when RabbitMQ did not hear it.
                let _ = self.session.ask(acker.reject(BasicRejectOptions { requeue: false })).await;
                return None;
            }
            Err(_) => envelope::salvage(&mut delivery),
        };
        if self.kind.live {
            if self.unacknowledged.replace(acker).is_none() {
                self.acknowledge_at = Instant::now() + ACK_AFTER;
            }
            self.count += 1;
            if self.count >= ACK_AT {
                self.acknowledge().await;
            }
            return Some(Handed { delivery: Delivery::new(message, attempt, Box::new(Settled)), acker: None });
        }
        let settle =
            Unsettled { acker: acker.clone(), session: self.session.clone(), give_back: self.give_back.clone() };
        Some(Handed { delivery: Delivery::new(message, attempt, Box::new(settle)), acker: Some(acker) })
    }

    async fn acknowledge(&mut self) {
        self.count = 0;
        if let Some(acker) = self.unacknowledged.take() {
            // When RabbitMQ does not hear it, the channel is gone and with it the queue.
            let _ = self.session.ask(acker.ack(BasicAckOptions { multiple: true })).await;
        }
    }

    /// Takes no more, gives back what nobody looked at, and stays for what is still in somebody's hands.
    async fn leave(&mut self, closing: &CancellationToken) {
        let cancelled = self.channel.basic_cancel(self.deliveries.tag(), BasicCancelOptions::default());
        if self.session.ask(cancelled).await.is_err() {
            return;
        }
        if self.kind.live {
            return;
        }
        while let Ok(Some(Ok(delivery))) = self.session.ask(async { Ok(self.deliveries.next().await) }).await {
            requeue(&self.session, delivery.acker).await;
        }
        // Without a sender of our own, receiving ends with the last delivery that is out.
        self.give_back = mpsc::unbounded_channel().0;
        loop {
            tokio::select! {
                acker = self.given_back.recv() => match acker {
                    Some(acker) => requeue(&self.session, acker).await,
                    None => return,
                },
                () = self.session.ended().cancelled() => return,
                () = closing.cancelled() => return,
            }
        }
    }
}

async fn requeue(session: &Session, acker: Acker) {
    // When RabbitMQ does not hear it, the channel is gone, which has the same effect.
    let _ = session.ask(acker.nack(BasicNackOptions { requeue: true, multiple: false })).await;
}

/// Settles a delivery on its channel.
struct Unsettled {
    acker: Acker,
    session: Session,
    give_back: mpsc::UnboundedSender<Acker>,
}

#[async_trait]
impl Settle for Unsettled {
    async fn settle(self: Box<Self>, outcome: Outcome) -> Result<()> {
        let told = async {
            match outcome {
                Outcome::Ack => self.acker.ack(BasicAckOptions::default()).await,
                Outcome::Requeue => self.acker.nack(BasicNackOptions { requeue: true, multiple: false }).await,
                Outcome::Reject => self.acker.reject(BasicRejectOptions { requeue: false }).await,
            }
        };
        match self.session.ask(told).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::unavailable("the delivery's channel is gone")),
            Err(failure) => Err(Failure::unavailable(failure, "a delivery cannot be settled")),
        }
    }

    fn abandon(self: Box<Self>) {
        // Without the pump the channel is gone, too.
        let _ = self.give_back.send(self.acker);
    }
}

/// A delivery that was acknowledged when it was taken.
struct Settled;

#[async_trait]
impl Settle for Settled {
    async fn settle(self: Box<Self>, _outcome: Outcome) -> Result<()> {
        Ok(())
    }

    fn abandon(self: Box<Self>) {}
}

#[cfg(test)]
mod tests {
    use sker_testkit::PATIENCE;
    use tokio::time::timeout;

    use super::*;
    use crate::{
        AmqpBus, AmqpConfig, Bus, Message,
        amqp::consume,
        topology::{LLM_DIRECT, PROCESS_QUEUE},
    };

    async fn consume(session: &Session, closing: &CancellationToken) -> (Channel, crate::Consumer) {
        let what = What::Queue { name: PROCESS_QUEUE, prefetch: 2 };
        let opened = consume::open(session, what).await.unwrap();
        let channel = opened.0.clone();
        let (pump, out, deliveries) = Pump::new(session.clone(), opened, what, 1 << 20);
        tokio::spawn(pump.run(out, closing.clone()));
        (channel, crate::Consumer::new(PROCESS_QUEUE, deliveries))
    }

    async fn next(consumer: &mut crate::Consumer) -> Option<Delivery> {
        timeout(PATIENCE, consumer.recv()).await.expect("an answer")
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_error_of_the_channel_ends_the_stream_and_the_connection_goes_on() {
        let vhost = sker_testkit::rabbitmq_vhost().await.unwrap();
        let config = AmqpConfig { url: vhost.url().into(), ..AmqpConfig::default() };
        let bus = AmqpBus::start(&config, "test").unwrap();
        let healthy = async || Ok(bus.is_healthy().then_some(()));
        sker_testkit::eventually("the bus is healthy", healthy).await.unwrap();
        let messages = (0..2).map(|number| Message::json("task.wake", "test", "llm.process.normal", &number).unwrap());
        bus.publish(LLM_DIRECT, messages.collect()).await.unwrap();

        let session = Session::open(&config.settings("test").unwrap(), "test").await.unwrap();
        let closing = CancellationToken::new();
        let (channel, mut consumer) = consume(&session, &closing).await;
        let held = next(&mut consumer).await.unwrap();
        // RabbitMQ knows of no such delivery and closes the channel.
        channel.basic_ack(1_000, BasicAckOptions::default()).await.unwrap();
        while let Some(delivery) = next(&mut consumer).await {
            drop(delivery);
        }
        assert!(held.ack().await.is_err());

        let (_channel, mut consumer) = consume(&session, &closing).await;
        for _ in 0..2 {
            let delivery = next(&mut consumer).await.unwrap();
            assert!(delivery.attempt > 1);
            delivery.ack().await.unwrap();
        }
        session.close().await;
        assert!(next(&mut consumer).await.is_none());
    }
}
