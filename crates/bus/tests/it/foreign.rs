//! Messages that some other program published, or that are too large.

use anyhow::Result;
use lapin::{BasicProperties, options::BasicPublishOptions};
use sker_bus::{
    AmqpBus, AmqpConfig, Bus, Message,
    topology::{DEAD_LETTER_QUEUE, FIRST_DEATH_QUEUE, LLM_DIRECT, PROCESS_QUEUE},
};
use sker_testkit::{TestVhost, rabbitmq_vhost};

use crate::support;

const MOST: usize = 10_000;

async fn small_bus() -> Result<(TestVhost, AmqpBus)> {
    let vhost = rabbitmq_vhost().await?;
    let bus = AmqpBus::start(&AmqpConfig { max_message_bytes: MOST, ..support::config(vhost.url()) }, "test")?;
    support::healthy(&bus).await?;
    Ok((vhost, bus))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_message_becomes_a_dead_letter_and_work_goes_on() -> Result<()> {
    let (vhost, bus) = small_bus().await?;
    let foreigner = support::foreigner(&vhost).await?;
    let bodies: [Vec<u8>; 3] = [b"{not JSON".to_vec(), Vec::new(), vec![b'x'; MOST + 1]];
    for body in &bodies {
        let (exchange, key) = (LLM_DIRECT.into(), support::work(0).key.into());
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        foreigner.channel.basic_publish(exchange, key, options, body, properties).await?.await?;
    }
    let mut consumer = bus.consume(PROCESS_QUEUE, 1).await?;
    support::publish(&bus, vec![support::work(7)]).await?;
    let delivery = support::next(&mut consumer).await?;
    assert_eq!(support::number(&delivery), 7);
    delivery.ack().await?;
    let mut dead = bus.consume(DEAD_LETTER_QUEUE, 10).await?;
    for _ in &bodies {
        let letter = support::next(&mut dead).await?;
        assert!(bodies.iter().any(|body| *body == letter.message.body));
        assert_eq!(letter.message.headers.get(FIRST_DEATH_QUEUE).map(String::as_str), Some(PROCESS_QUEUE));
        letter.ack().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_not_taken_and_holds_nobody_up() -> Result<()> {
    let (_vhost, bus) = small_bus().await?;
    let large = |message: Message| Message { body: vec![b' '; MOST + 1].into(), ..message };
    let long_key = |message: Message| Message { key: "k".repeat(300), ..message };
    let messages = vec![support::work(1), large(support::work(2)), support::work(3), long_key(support::work(4))];
    let refused = bus.publish(LLM_DIRECT, messages.clone()).await?;
    assert_eq!(refused, [messages[1].id, messages[3].id]);
    support::take_all(&bus, [messages[0].id, messages[2].id].into()).await
}
