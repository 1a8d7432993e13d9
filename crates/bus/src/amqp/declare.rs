//! The topology on RabbitMQ: every declaration says all it means, so that servers with other defaults make the same of it.

use std::time::Duration;

use lapin::{
    Channel, ExchangeKind as Kind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};

use super::session::{Failure, NOT_FOUND, PRECONDITION_FAILED, Session};
use crate::topology::{
    BINDINGS, Binding, DEAD_LETTER_KEY, DEAD_LETTERS, EXCHANGES, EXCLUSIVE, Exchange, ExchangeKind, Overflow, QUEUES,
    Queue,
};

/// How long a queue stays away that was deleted. RabbitMQ tells its consumers a moment later, but not if there is another queue
/// of the same name by then: they would wait for ever (seen with 3.10).
pub(super) const GRACE: Duration = Duration::from_secs(1);
/// How long an exclusive queue is there that nobody consumes, because its consumer gave up before it began.
const UNUSED_MS: i64 = 60_000;

/// Declares all of it. Answers what exists already in another shape, which only an operator can put right: everything else
/// is declared nevertheless.
pub(super) async fn topology(session: &Session) -> Result<Option<String>, Failure> {
    let mut declaring = Declaring { session, channel: session.channel().await?, conflict: None };
    for exchange in EXCHANGES {
        let result = declare_exchange(session, &declaring.channel, exchange).await;
        declaring.heed(result, exchange.name).await?;
    }
    for queue in QUEUES {
        let options = QueueDeclareOptions { durable: true, ..Default::default() };
        let result = declare_queue(session, &declaring.channel, queue.name, options, quorum(queue)).await;
        declaring.heed(result, queue.name).await?;
    }
    for Binding { exchange, key, queue } in BINDINGS {
        let result = bind(session, &declaring.channel, queue, exchange, key).await;
        declaring.heed(result, queue).await?;
    }
    session.retire(declaring.channel).await;
    Ok(declaring.conflict)
}

struct Declaring<'a> {
    session: &'a Session,
    channel: Channel,
    conflict: Option<String>,
}

impl Declaring<'_> {
    /// A refusal ends the channel, so what follows needs another.
    async fn heed(&mut self, result: Result<(), Failure>, name: &str) -> Result<(), Failure> {
        match result {
            Err(failure) if failure.code() == Some(PRECONDITION_FAILED) => {
                let conflict = || format!("{name} exists and is not what it should be: {}", failure.text());
                self.conflict.get_or_insert_with(conflict);
                self.channel = self.session.channel().await?;
                Ok(())
            }
            result => result,
        }
    }
}

/// Declares a queue for one consumer, bound to everything on an exchange.
pub(super) async fn exclusive(session: &Session, channel: &Channel, name: &str, exchange: &str) -> Result<(), Failure> {
    let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
    let mut arguments = limits(&EXCLUSIVE);
    // The default of a virtual host may be another type, of which there are no exclusive queues.
    put(&mut arguments, "x-queue-type", "classic");
    put(&mut arguments, "x-expires", UNUSED_MS);
    declare_queue(session, channel, name, options, arguments).await?;
    bind(session, channel, name, exchange, "#").await
}

/// Messages that wait in a queue; `None` when there is no such queue.
pub(super) async fn depth(session: &Session, channel: &Channel, name: &str) -> Result<Option<u64>, Failure> {
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    let asked = session.ask(channel.queue_declare(name.into(), options, FieldTable::default())).await;
    match asked {
        Ok(queue) => Ok(Some(queue.message_count().into())),
        Err(failure) if failure.code() == Some(NOT_FOUND) => Ok(None),
        Err(failure) => Err(failure),
    }
}

async fn declare_exchange(session: &Session, channel: &Channel, exchange: &Exchange) -> Result<(), Failure> {
    let kind = match exchange.kind {
        ExchangeKind::Direct => Kind::Direct,
        ExchangeKind::Topic => Kind::Topic,
        ExchangeKind::Fanout => Kind::Fanout,
    };
    let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
    let mut arguments = FieldTable::default();
    if let Some(alternate) = exchange.alternate {
        put(&mut arguments, "alternate-exchange", alternate);
    }
    session.ask(channel.exchange_declare(exchange.name.into(), kind, options, arguments)).await
}

async fn declare_queue(
    session: &Session,
    channel: &Channel,
    name: &str,
    options: QueueDeclareOptions,
    arguments: FieldTable,
) -> Result<(), Failure> {
    session.ask(channel.queue_declare(name.into(), options, arguments)).await.map(drop)
}

async fn bind(session: &Session, channel: &Channel, queue: &str, exchange: &str, key: &str) -> Result<(), Failure> {
    let binding = channel.queue_bind(
        queue.into(),
        exchange.into(),
        key.into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    session.ask(binding).await
}

fn quorum(queue: &Queue) -> FieldTable {
    let mut arguments = limits(queue);
    put(&mut arguments, "x-queue-type", "quorum");
    // Without one, RabbitMQ 4 would lose a message after 20 deliveries; its word for "never" is none that RabbitMQ 3 knows.
    put(&mut arguments, "x-delivery-limit", i64::from(queue.delivery_limit.unwrap_or(i32::MAX as u32)));
    if queue.dead_letters {
        put(&mut arguments, "x-dead-letter-exchange", DEAD_LETTERS);
        put(&mut arguments, "x-dead-letter-routing-key", DEAD_LETTER_KEY);
        if queue.overflow == Overflow::RejectPublish {
            put(&mut arguments, "x-dead-letter-strategy", "at-least-once");
        }
    }
    arguments
}

fn limits(queue: &Queue) -> FieldTable {
    let mut arguments = FieldTable::default();
    let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    put(&mut arguments, "x-max-length", number(queue.max_length));
    put(&mut arguments, "x-max-length-bytes", number(queue.max_bytes));
    let overflow = match queue.overflow {
        Overflow::RejectPublish => "reject-publish",
        Overflow::DropHead => "drop-head",
    };
    put(&mut arguments, "x-overflow", overflow);
    arguments
}

fn put(arguments: &mut FieldTable, name: &str, value: impl Into<Argument>) {
    arguments.insert(name.into(), value.into().0);
}

struct Argument(AMQPValue);

impl From<&str> for Argument {
    fn from(text: &str) -> Self {
        Argument(AMQPValue::LongString(text.into()))
    }
}

impl From<i64> for Argument {
    fn from(number: i64) -> Self {
        Argument(AMQPValue::LongLongInt(number))
    }
}
