//! Beginning to consume: one channel per consumer.

use lapin::{
    Channel,
    options::{BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};

use super::{
    declare::{self, GRACE},
    session::{Failure, NOT_FOUND, Session},
};
use crate::topology::{EXCHANGES, EXCLUSIVE_PREFETCH, QUEUES};

/// What is consumed.
#[derive(Clone, Copy)]
pub(super) enum What<'a> {
    /// A queue that exists.
    Queue { name: &'a str, prefetch: u16 },
    /// A queue that is made for it, bound to an exchange.
    Exclusive { name: &'a str, exchange: &'a str },
}

impl What<'_> {
    pub(super) fn queue(&self) -> &str {
        match *self {
            What::Queue { name, .. } | What::Exclusive { name, .. } => name,
        }
    }

    /// Whether the topology has it.
    fn is_known(&self) -> bool {
        match *self {
            What::Queue { name, .. } => QUEUES.iter().any(|queue| queue.name == name),
            What::Exclusive { exchange, .. } => EXCHANGES.iter().any(|known| known.name == exchange),
        }
    }

    /// What has to exist for it.
    pub(super) fn needs(&self) -> String {
        match *self {
            What::Queue { name, .. } => format!("queue {name}"),
            What::Exclusive { exchange, .. } => format!("exchange {exchange}"),
        }
    }
}

/// Begins to consume. A queue or exchange of the topology that is gone is declared again first, when other consumers have had
/// time to hear of it.
pub(super) async fn open(session: &Session, what: What<'_>) -> Result<(Channel, lapin::Consumer), Failure> {
    match attempt(session, what).await {
        Err(failure) if failure.code() == Some(NOT_FOUND) && what.is_known() => {
            tokio::time::sleep(GRACE).await;
            declare::topology(session).await?;
            attempt(session, what).await
        }
        result => result,
    }
}

async fn attempt(session: &Session, what: What<'_>) -> Result<(Channel, lapin::Consumer), Failure> {
    let channel = session.channel().await?;
    let result = begin(session, &channel, what).await;
    match result {
        Ok(deliveries) => Ok((channel, deliveries)),
        Err(failure) => {
            session.retire(channel).await;
            Err(failure)
        }
    }
}

async fn begin(session: &Session, channel: &Channel, what: What<'_>) -> Result<lapin::Consumer, Failure> {
    let prefetch = match what {
        // Zero would be without a limit.
        What::Queue { prefetch, .. } => prefetch.max(1),
        What::Exclusive { name, exchange } => {
            declare::exclusive(session, channel, name, exchange).await?;
            EXCLUSIVE_PREFETCH
        }
    };
    session.ask(channel.basic_qos(prefetch, BasicQosOptions::default())).await?;
    let options = BasicConsumeOptions::default();
    let consuming = channel.basic_consume(what.queue().into(), "".into(), options, FieldTable::default());
    session.ask(consuming).await
}
