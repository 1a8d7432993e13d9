//! Exchanges and queues that vanish, are full, or are not what they should be.

use std::collections::HashSet;

use anyhow::Result;
use futures::future::try_join_all;
use lapin::{
    options::{ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions},
    types::FieldTable,
};
use sker_bus::{
    AmqpBus, Bus, Message,
    topology::{EVENTS_STORAGE_QUEUE, EVENTS_TOPIC, EXCLUSIVE, LLM_DIRECT, PROCESS_QUEUE, PROCESS_QUEUE_LOW, QUEUES},
};
use sker_testkit::{eventually, rabbitmq_vhost};
use sker_types::Uuid;

use crate::support;

#[tokio::test(flavor = "multi_thread")]
async fn every_queue_is_declared_with_its_limits() -> Result<()> {
    let (vhost, bus) = support::bus().await?;
    for queue in QUEUES {
        let declared = vhost.queue(queue.name).await?.expect(queue.name);
        let argument = |name: &str| declared["arguments"][name].clone();
        assert_eq!(argument("x-queue-type"), "quorum");
        assert_eq!(argument("x-max-length"), queue.max_length);
        assert_eq!(argument("x-max-length-bytes"), queue.max_bytes);
        assert!(argument("x-delivery-limit").is_u64(), "{}", queue.name);
        if queue.dead_letters {
            assert_eq!(argument("x-dead-letter-strategy"), "at-least-once");
            assert_eq!(argument("x-overflow"), "reject-publish");
        }
    }
    let consumer = bus.declare_exclusive("test.", EVENTS_TOPIC).await?;
    let declared = vhost.queue(consumer.queue()).await?.expect("its queue");
    assert_eq!(declared["arguments"]["x-max-length"], EXCLUSIVE.max_length);
    assert_eq!(declared["arguments"]["x-overflow"], "drop-head");
    assert!(declared["arguments"]["x-expires"].is_u64(), "one that is never consumed goes");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_queue_ends_its_consumers_and_is_declared_again() -> Result<()> {
    let (vhost, bus) = support::bus().await?;
    let consumer = bus.consume(PROCESS_QUEUE, 1).await?;
    vhost.delete_queue(PROCESS_QUEUE).await?;
    support::end(consumer).await?;
    let mut consumer = bus.consume(PROCESS_QUEUE, 1).await?;
    support::publish(&bus, vec![support::work(1)]).await?;
    let delivery = support::next(&mut consumer).await?;
    assert_eq!(support::number(&delivery), 1);
    delivery.ack().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_deleted_while_work_comes_in_leaves_no_consumer_behind() -> Result<()> {
    let (vhost, bus) = support::bus().await?;
    for number in 0..3 {
        let consumers = [bus.consume(PROCESS_QUEUE, 1).await?, bus.consume(PROCESS_QUEUE, 1).await?];
        vhost.delete_queue(PROCESS_QUEUE).await?;
        support::publish(&bus, vec![support::work(number)]).await?;
        for consumer in consumers {
            support::end(consumer).await?;
        }
        let mut consumer = bus.consume(PROCESS_QUEUE, 1).await?;
        let delivery = support::next(&mut consumer).await?;
        assert_eq!(support::number(&delivery), number);
        delivery.ack().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_to_a_deleted_queue_declares_it_again() -> Result<()> {
    let (vhost, bus) = support::bus().await?;
    vhost.delete_queue(PROCESS_QUEUE).await?;
    let messages: Vec<Message> = (0..10).map(support::work).collect();
    assert_eq!(bus.publish(LLM_DIRECT, messages.clone()).await?, Vec::<Uuid>::new());
    support::take_all(&bus, messages.iter().map(|message| message.id).collect()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_exchange_comes_back_and_others_do_not_notice() -> Result<()> {
    let (vhost, bus) = support::bus().await?;
    let foreigner = support::foreigner(&vhost).await?;
    // The lane has a channel already, which will be closed.
    support::publish(&bus, vec![support::work(0)]).await?;
    foreigner.channel.exchange_delete(LLM_DIRECT.into(), ExchangeDeleteOptions::default()).await?;
    let on_another = async {
        for number in 0..50 {
            let message = Message { key: "node.created".to_owned(), ..support::work(number) };
            assert_eq!(bus.publish(EVENTS_TOPIC, vec![message]).await?, Vec::<Uuid>::new());
        }
        anyhow::Ok(())
    };
    let on_unknown = async {
        for number in 0..50 {
            assert!(bus.publish("no.such.exchange", vec![support::work(number)]).await.is_err());
        }
        anyhow::Ok(())
    };
    let on_deleted = try_join_all((0..10).map(async |caller| {
        let messages = (0..10).map(|number| support::work(caller * 10 + number)).collect();
        assert_eq!(bus.publish(LLM_DIRECT, messages).await?, Vec::<Uuid>::new());
        anyhow::Ok(())
    }));
    tokio::try_join!(on_another, on_unknown, on_deleted)?;
    assert_eq!(bus.depth(EVENTS_STORAGE_QUEUE).await, Some(50));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_publisher_hears_exactly_which_of_its_messages_reached_nobody() -> Result<()> {
    let (_vhost, bus) = support::bus().await?;
    let publishers = (0..50_u32).map(async |publisher| {
        let mut messages: Vec<Message> = (0..10).map(|number| support::work(publisher * 10 + number)).collect();
        let lost = (0..10_u32).filter(|number| (number * 7 + publisher * 3) % 4 == 0);
        let mut expected = HashSet::new();
        for number in lost {
            let message = &mut messages[number as usize];
            message.key = "llm.nowhere".to_owned();
            expected.insert(message.id);
        }
        let routed: Vec<_> = messages.iter().map(|message| message.id).filter(|id| !expected.contains(id)).collect();
        let refused = bus.publish(LLM_DIRECT, messages).await?;
        assert_eq!(refused.len(), expected.len());
        assert_eq!(HashSet::from_iter(refused), expected);
        anyhow::Ok(routed)
    });
    let routed: HashSet<_> = try_join_all(publishers).await?.into_iter().flatten().collect();
    support::take_all(&bus, routed).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_named_and_takes_messages_again_when_it_has_room() -> Result<()> {
    let (vhost, bus) = support::bus().await?;
    let foreigner = support::foreigner(&vhost).await?;
    let channel = &foreigner.channel;
    // A small one in its place.
    channel.queue_delete(PROCESS_QUEUE.into(), QueueDeleteOptions::default()).await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), lapin::types::AMQPValue::LongString("quorum".into()));
    arguments.insert("x-max-length".into(), lapin::types::AMQPValue::LongLongInt(5));
    arguments.insert("x-overflow".into(), lapin::types::AMQPValue::LongString("reject-publish".into()));
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(PROCESS_QUEUE.into(), durable, arguments).await?;
    let key = support::work(0).key;
    channel
        .queue_bind(PROCESS_QUEUE.into(), LLM_DIRECT.into(), key.into(), Default::default(), FieldTable::default())
        .await?;
    // A quorum queue notices a moment after it is full.
    let refused = eventually("the queue is full", async || {
        let messages: Vec<Message> = (0..5).map(support::work).collect();
        let refused = bus.publish(LLM_DIRECT, messages).await?;
        Ok((!refused.is_empty()).then_some(refused))
    })
    .await?;
    assert!(refused.len() <= 5);
    let mut consumer = bus.consume(PROCESS_QUEUE, 1).await?;
    let room = async {
        while let Some(delivery) = consumer.recv().await {
            delivery.ack().await?;
        }
        anyhow::Ok(())
    };
    tokio::select! {
        ended = room => { ended?; anyhow::bail!("the stream ended") }
        published = support::publish(&bus, vec![support::work(100)]) => published,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_of_another_shape_is_told_and_the_rest_works() -> Result<()> {
    let vhost = rabbitmq_vhost().await?;
    vhost.declare_queue(PROCESS_QUEUE_LOW).await?;
    let bus = AmqpBus::start(&support::config(vhost.url()), "test")?;
    let trouble =
        eventually("it is told", async || Ok(bus.trouble().filter(|trouble| trouble.contains(PROCESS_QUEUE_LOW))))
            .await?;
    assert!(trouble.contains("inequivalent"), "{trouble}");
    assert!(!bus.is_healthy());
    support::publish(&bus, vec![support::work(1)]).await?;
    let delivery = support::next(&mut bus.consume(PROCESS_QUEUE, 1).await?).await?;
    assert_eq!(support::number(&delivery), 1);
    // An operator puts it right.
    vhost.delete_queue(PROCESS_QUEUE_LOW).await?;
    eventually("connections are closed", async || Ok((vhost.close_connections().await? > 1).then_some(()))).await?;
    support::healthy(&bus).await
}

/// More channels than a connection has numbers for.
const MANY: u32 = 2_100;

#[tokio::test(flavor = "multi_thread")]
async fn channels_that_ended_badly_are_no_trouble_to_those_after_them() -> Result<()> {
    let (_vhost, bus) = support::bus().await?;
    for _ in 0..100 {
        assert!(bus.consume("no.such.queue", 1).await.is_err());
    }
    for _ in 0..MANY {
        bus.consume(PROCESS_QUEUE, 1).await?;
    }
    assert_eq!(bus.depth(PROCESS_QUEUE).await, Some(0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_channels_left_is_replaced() -> Result<()> {
    let (_vhost, bus) = support::bus().await?;
    support::publish(&bus, (0..3).map(support::work).collect()).await?;
    for _ in 0..MANY {
        assert_eq!(bus.depth("no.such.queue").await, None);
    }
    eventually("the depth is known", async || Ok((bus.depth(PROCESS_QUEUE).await == Some(3)).then_some(()))).await
}
