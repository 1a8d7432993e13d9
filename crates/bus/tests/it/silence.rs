//! RabbitMQ that is there and answers nothing, or nothing any more.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use sker_bus::{
    AmqpBus, AmqpConfig, Bus,
    topology::{LLM_DIRECT, PROCESS_QUEUE},
};
use sker_error::Code;
use sker_testkit::{PATIENCE, TestVhost, eventually, rabbitmq_vhost};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};
use url::Url;

use crate::support;

/// A way to RabbitMQ on which nothing moves while it is frozen.
struct Wire {
    url: String,
    frozen: Arc<watch::Sender<bool>>,
}

impl Wire {
    async fn to(vhost: &TestVhost) -> Result<Self> {
        let mut url = Url::parse(vhost.url())?;
        let server = (url.host_str().unwrap_or_default().to_owned(), url.port().unwrap_or(5672));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        url.set_port(Some(listener.local_addr()?.port())).ok();
        url.set_host(Some("127.0.0.1"))?;
        let frozen = Arc::new(watch::Sender::new(false));
        let seen = Arc::clone(&frozen);
        tokio::spawn(async move {
            while let (Ok((client, _)), Ok(server)) = (listener.accept().await, TcpStream::connect(&server).await) {
                let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
                tokio::spawn(pass(from_client, to_server, seen.subscribe()));
                tokio::spawn(pass(from_server, to_client, seen.subscribe()));
            }
        });
        Ok(Wire { url: url.into(), frozen })
    }

    fn freeze(&self, frozen: bool) {
        self.frozen.send_replace(frozen);
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut frozen: watch::Receiver<bool>) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if frozen.wait_for(|frozen| !frozen).await.is_err() || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirm_that_does_not_come_is_given_up_and_the_message_can_be_published_again() -> Result<()> {
    let vhost = rabbitmq_vhost().await?;
    let wire = Wire::to(&vhost).await?;
    // What is given up is the confirm, long before the connection.
    let config = AmqpConfig { timeout_ms: 300, heartbeat_s: 600, ..support::config(&wire.url) };
    let bus = AmqpBus::start(&config, "test")?;
    support::healthy(&bus).await?;
    let mut consumer = bus.consume(PROCESS_QUEUE, 1).await?;
    support::publish(&bus, vec![support::work(1)]).await?;
    let held = support::next(&mut consumer).await?;

    wire.freeze(true);
    let message = support::work(2);
    let error = tokio::time::timeout(PATIENCE, bus.publish(LLM_DIRECT, vec![message.clone()])).await?.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.message().contains("does not answer"), "{error}");
    assert_eq!(tokio::time::timeout(PATIENCE, bus.depth(PROCESS_QUEUE)).await?, None);

    wire.freeze(false);
    held.ack().await?;
    support::publish(&bus, vec![message.clone()]).await?;
    // The first attempt may have arrived as well.
    let again = support::next(&mut consumer).await?;
    assert_eq!(again.message.id, message.id);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_on_which_nothing_is_heard_is_replaced() -> Result<()> {
    let vhost = rabbitmq_vhost().await?;
    let wire = Wire::to(&vhost).await?;
    let config = AmqpConfig { heartbeat_s: 1, connect_timeout_ms: 500, ..support::config(&wire.url) };
    let bus = AmqpBus::start(&config, "test")?;
    support::healthy(&bus).await?;
    let consumer = bus.consume(PROCESS_QUEUE, 1).await?;
    wire.freeze(true);
    support::end(consumer).await?;
    eventually("it is noticed", async || Ok((!bus.is_healthy()).then_some(()))).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!bus.is_healthy());
    wire.freeze(false);
    support::healthy(&bus).await?;
    support::publish(&bus, vec![support::work(1)]).await?;
    let mut consumer = bus.consume(PROCESS_QUEUE, 1).await?;
    assert_eq!(support::number(&support::next(&mut consumer).await?), 1);
    Ok(())
}
