//! RabbitMQ by AMQP 0-9-1.
//!
//! Two connections, one to publish and one to consume, because RabbitMQ stops reading from a connection that publishes when
//! it is short of memory. [`link`] keeps each of them; [`publish`] has a lane per exchange; [`pump`] runs per consumer. All of them
//! are tasks that [`AmqpBus`] owns.

mod config;
mod consume;
mod declare;
mod envelope;
mod link;
mod publish;
mod pump;
mod round;
mod session;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
pub use config::AmqpConfig;
use config::Settings;
use lapin::Channel;
use link::Link;
use publish::Lane;
use pump::Pump;
use session::{Failure, NOT_FOUND};
use sker_error::{Error, Result};
use sker_types::Uuid;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use self::consume::What;
use crate::{Bus, Consumer, Message, topology::EXCHANGES};

/// A [`Bus`] on RabbitMQ (3.10 or later).
pub struct AmqpBus {
    settings: Arc<Settings>,
    publishing: Link,
    consuming: Link,
    lanes: Vec<Lane>,
    /// Lanes and pumps, which end with `closing`.
    workers: TaskTracker,
    closing: CancellationToken,
    /// What keeps the connections, which ends with `ending`.
    keepers: TaskTracker,
    ending: CancellationToken,
    /// To ask for the depth of queues, between two questions.
    asking: Mutex<Option<Channel>>,
    /// Without [`Bus::close`] both end with this.
    _guards: [DropGuard; 2],
}

impl AmqpBus {
    /// Begins to connect, and to connect again whenever the connection is lost, until [`Bus::close`] or until it is
    /// dropped. Does not wait: while RabbitMQ is away the bus is not healthy and its calls answer `unavailable`.
    ///
    /// `name` is the service's, for RabbitMQ's own list of connections. Needs a tokio runtime.
    ///
    /// # Errors
    /// `invalid_request` for a URL that cannot be used.
    pub fn start(config: &AmqpConfig, name: &str) -> Result<Self> {
        let settings = Arc::new(config.settings(name)?);
        let (closing, ending) = (CancellationToken::new(), CancellationToken::new());
        let (workers, keepers) = (TaskTracker::new(), TaskTracker::new());
        let link = |purpose| {
            let (link, keeper) = Link::new(Arc::clone(&settings), purpose, ending.clone());
            keepers.spawn(keeper);
            link
        };
        let (publishing, consuming) = (link("publish"), link("consume"));
        let lanes = EXCHANGES.iter().map(|exchange| {
            let (lane, server) = Lane::new(exchange, &settings, publishing.clone(), closing.clone());
            workers.spawn(server);
            lane
        });
        let lanes = lanes.collect();
        let guards = [closing.clone().drop_guard(), ending.clone().drop_guard()];
        Ok(AmqpBus {
            settings,
            publishing,
            consuming,
            lanes,
            workers,
            closing,
            keepers,
            ending,
            asking: Mutex::default(),
            _guards: guards,
        })
    }

    /// Waits until the first attempt to connect has come to an end, well or not, which the configuration bounds: who begins
    /// its work after that need not begin it without a bus.
    pub async fn attempted(&self) {
        tokio::join!(self.publishing.attempted(), self.consuming.attempted());
    }

    async fn subscribe(&self, what: What<'_>) -> Result<Consumer> {
        self.refuse_when_closed()?;
        let session = self.consuming.session()?;
        let opened = consume::open(&session, what).await.map_err(|failure| match failure.code() {
            Some(NOT_FOUND) => Error::not_found(&what.needs()),
            _ => failure.unavailable(&format!("{} cannot be consumed", what.queue())),
        })?;
        let (pump, out, deliveries) = Pump::new(session, opened, what, self.settings.max_message_bytes);
        self.workers.spawn(pump.run(out, self.closing.clone()));
        Ok(Consumer::new(what.queue(), deliveries))
    }

    async fn ask_depth(&self, queue: &str) -> Result<Option<u64>, Failure> {
        let session = self.consuming.session().map_err(Failure::Away)?;
        let spare = self.asking.lock().unwrap_or_else(PoisonError::into_inner).take();
        let channel = match spare {
            Some(channel) if channel.status().connected() => channel,
            _ => session.channel().await?,
        };
        let depth = declare::depth(&session, &channel, queue).await;
        match depth {
            Ok(Some(_)) => *self.asking.lock().unwrap_or_else(PoisonError::into_inner) = Some(channel),
            _ => session.retire(channel).await,
        }
        depth
    }

    fn refuse_when_closed(&self) -> Result<()> {
        if self.closing.is_cancelled() { Err(closed()) } else { Ok(()) }
    }
}

impl fmt::Debug for AmqpBus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("AmqpBus").field("name", &self.settings.name).finish_non_exhaustive()
    }
}

fn closed() -> Error {
    Error::unavailable("the message bus is closed")
}

#[async_trait]
impl Bus for AmqpBus {
    async fn publish(&self, exchange: &str, messages: Vec<Message>) -> Result<Vec<Uuid>> {
        self.refuse_when_closed()?;
        let lane = self.lanes.iter().find(|lane| lane.exchange.name == exchange);
        let lane = lane.ok_or_else(|| Error::not_found(&format!("exchange {exchange}")))?;
        self.publishing.open_session()?;
        let mut refused = Vec::new();
        let mut outgoing = Vec::with_capacity(messages.len());
        for message in messages {
            let id = message.id;
            match envelope::write(message, self.settings.max_message_bytes) {
                Ok(message) => outgoing.push(message),
                Err(why) => {
                    tracing::warn!(message.id = %id, bus.exchange = exchange, "a message is not published: {why}");
                    refused.push(id);
                }
            }
        }
        if !outgoing.is_empty() {
            refused.extend(lane.publish(outgoing).await?);
        }
        Ok(refused)
    }

    async fn consume(&self, queue: &str, prefetch: u16) -> Result<Consumer> {
        self.subscribe(What::Queue { name: queue, prefetch }).await
    }

    async fn declare_exclusive(&self, queue_prefix: &str, exchange: &str) -> Result<Consumer> {
        let name = format!("{queue_prefix}{}", Uuid::new_v4().simple());
        self.subscribe(What::Exclusive { name: &name, exchange }).await
    }

    fn is_healthy(&self) -> bool {
        self.trouble().is_none()
    }

    fn trouble(&self) -> Option<String> {
        if self.closing.is_cancelled() {
            return Some(closed().message().to_owned());
        }
        self.publishing.trouble().or_else(|| self.consuming.trouble()).map(|why| why.to_string())
    }

    async fn depth(&self, queue: &str) -> Option<u64> {
        self.ask_depth(queue).await.ok().flatten()
    }

    async fn close(&self) {
        self.closing.cancel();
        self.workers.close();
        self.keepers.close();
        // What is not confirmed by then is not known to be published.
        let _ = tokio::time::timeout(self.settings.timeout, self.workers.wait()).await;
        self.ending.cancel();
        self.keepers.wait().await;
    }
}
