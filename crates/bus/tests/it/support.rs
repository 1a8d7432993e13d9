use std::collections::HashSet;

use anyhow::{Context, Result};
use lapin::{Channel, Connection, ConnectionProperties};
use sker_bus::{
    AmqpBus, AmqpConfig, Bus, Consumer, Delivery, Message,
    topology::{LLM_DIRECT, PROCESS_QUEUE, work_queue},
};
use sker_testkit::{PATIENCE, TestVhost, eventually, rabbitmq_vhost};
use sker_types::Uuid;

pub fn config(url: &str) -> AmqpConfig {
    AmqpConfig { url: url.into(), reconnect_max_ms: 500, ..AmqpConfig::default() }
}

/// A virtual host and a bus on it that is ready.
pub async fn bus() -> Result<(TestVhost, AmqpBus)> {
    let vhost = rabbitmq_vhost().await?;
    let bus = AmqpBus::start(&config(vhost.url()), "test")?;
    healthy(&bus).await?;
    Ok((vhost, bus))
}

pub async fn healthy(bus: &AmqpBus) -> Result<()> {
    eventually("the bus is healthy", async || Ok(bus.is_healthy().then_some(()))).await
}

/// Work for [`PROCESS_QUEUE`].
pub fn work(number: u32) -> Message {
    let (_, key) = work_queue("content_fusion", "normal");
    Message::json("task.wake", "test", key, &number).expect("a number is JSON")
}

pub fn number(delivery: &Delivery) -> u32 {
    delivery.message.parse().expect("the body is a number")
}

pub async fn next(consumer: &mut Consumer) -> Result<Delivery> {
    tokio::time::timeout(PATIENCE, consumer.recv()).await.context("no delivery")?.context("the stream ended")
}

/// Waits for the end of a consumer's stream; what comes before is dropped.
pub async fn end(mut consumer: Consumer) -> Result<()> {
    let ended = async { while consumer.recv().await.is_some() {} };
    tokio::time::timeout(PATIENCE, ended).await.context("the stream does not end")
}

/// Publishes work until RabbitMQ has taken it, as the outbox does.
pub async fn publish(bus: &AmqpBus, mut messages: Vec<Message>) -> Result<()> {
    eventually("the messages are taken", async || {
        if let Ok(refused) = bus.publish(LLM_DIRECT, messages.clone()).await {
            messages.retain(|message| refused.contains(&message.id));
        }
        Ok(messages.is_empty().then_some(()))
    })
    .await
}

/// Takes work until every one of `ids` was delivered, consuming anew whenever the stream ends.
pub async fn take_all(bus: &AmqpBus, mut ids: HashSet<Uuid>) -> Result<()> {
    let taken = async {
        while !ids.is_empty() {
            let Ok(mut consumer) = bus.consume(PROCESS_QUEUE, 50).await else {
                tokio::time::sleep(std::time::Duration::from_millis(25)).await;
                continue;
            };
            while !ids.is_empty() {
                let Some(delivery) = consumer.recv().await else { break };
                let id = delivery.message.id;
                if delivery.ack().await.is_ok() {
                    ids.remove(&id);
                }
            }
        }
    };
    tokio::time::timeout(PATIENCE, taken).await.with_context(|| format!("{} messages are lost", ids.len()))
}

/// A client of another make, on the same virtual host.
pub struct Foreigner {
    pub channel: Channel,
    _connection: Connection,
}

pub async fn foreigner(vhost: &TestVhost) -> Result<Foreigner> {
    let connection = Connection::connect(vhost.url(), ConnectionProperties::default()).await?;
    Ok(Foreigner { channel: connection.create_channel().await?, _connection: connection })
}
