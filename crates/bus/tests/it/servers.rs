//! RabbitMQ itself in trouble: a server of one's own.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::Result;
use sker_bus::{
    AmqpBus, AmqpConfig, Bus, Message,
    topology::{LLM_DIRECT, PROCESS_QUEUE},
};
use sker_error::Code;
use sker_testkit::{RabbitServer, eventually};

use crate::support;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_short_of_memory_takes_nothing_and_says_so() -> Result<()> {
    let server = RabbitServer::start().await?;
    let vhost = server.vhost().await?;
    // Longer than the test waits: whoever publishes is told, not kept waiting for a confirm.
    let config = AmqpConfig { timeout_ms: 60_000, ..support::config(vhost.url()) };
    let bus = AmqpBus::start(&config, "test")?;
    support::healthy(&bus).await?;
    support::publish(&bus, vec![support::work(1)]).await?;
    server.control(&["set_vm_memory_high_watermark", "0.00001"]).await?;
    // RabbitMQ blocks a connection when it publishes.
    let blocked = eventually("it is blocked", async || {
        let published = bus.publish(LLM_DIRECT, vec![support::work(2)]).await;
        Ok(published.err().filter(|error| error.message().contains("short of memory")))
    });
    let error = tokio::time::timeout(Duration::from_secs(30), blocked).await??;
    assert_eq!(error.code(), Code::Unavailable);
    assert!(!bus.is_healthy());
    assert!(bus.trouble().is_some_and(|trouble| trouble.contains("short of memory")), "{:?}", bus.trouble());
    // Consuming goes on.
    let delivery = support::next(&mut bus.consume(PROCESS_QUEUE, 1).await?).await?;
    assert_eq!(support::number(&delivery), 1);
    delivery.ack().await?;
    server.control(&["set_vm_memory_high_watermark", "0.8"]).await?;
    support::healthy(&bus).await?;
    let message = support::work(3);
    let id = message.id;
    support::publish(&bus, vec![message]).await?;
    support::take_all(&bus, [id].into()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_was_confirmed_survives_a_kill_under_load() -> Result<()> {
    let mut server = RabbitServer::start().await?;
    let vhost = server.vhost().await?;
    let bus = AmqpBus::start(&support::config(vhost.url()), "test")?;
    support::healthy(&bus).await?;
    let over = AtomicBool::new(false);
    let publisher = |from: u32| {
        let (bus, over) = (&bus, &over);
        async move {
            let mut ids = HashSet::new();
            let mut number = from;
            let mut more = 20;
            while more > 0 {
                more -= u32::from(over.load(Ordering::SeqCst));
                let messages: Vec<Message> = (0..5).map(|offset| support::work(number + offset)).collect();
                number += 5;
                ids.extend(messages.iter().map(|message| message.id));
                support::publish(bus, messages).await?;
            }
            anyhow::Ok(ids)
        }
    };
    let consumer = bus.consume(PROCESS_QUEUE, 10).await?;
    let killer = async {
        for _ in 0..2 {
            let before = bus.depth(PROCESS_QUEUE).await.unwrap_or(0);
            eventually("it is published", async || {
                Ok(bus.depth(PROCESS_QUEUE).await.filter(|depth| *depth > before + 50))
            })
            .await?;
            server.kill().await?;
            eventually("it is noticed", async || Ok((!bus.is_healthy()).then_some(()))).await?;
            server.restart().await?;
            support::healthy(&bus).await?;
        }
        over.store(true, Ordering::SeqCst);
        anyhow::Ok(())
    };
    let publishers = futures::future::try_join_all((0..4).map(|n| publisher(n * 1_000_000)));
    let (published, killed, ended) = tokio::join!(publishers, killer, support::end(consumer));
    killed?;
    ended?;
    let ids: HashSet<_> = published?.into_iter().flatten().collect();
    support::take_all(&bus, ids).await
}
