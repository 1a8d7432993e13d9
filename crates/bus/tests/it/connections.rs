//! What becomes of messages and consumers when a connection or a channel ends.

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
use sker_testkit::{eventually, rabbitmq_vhost};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
};

use crate::support;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_connections_are_cut_in_the_middle_of_confirms() -> Result<()> {
    let (vhost, bus) = support::bus().await?;
    let cut = AtomicBool::new(false);
    let publisher = |from: u32| {
        let (bus, cut) = (&bus, &cut);
        async move {
            let mut ids = HashSet::new();
            let mut number = from;
            // Some more after the last cut, so that publishing goes on for certain.
            let mut more = 20;
            while more > 0 {
                more -= u32::from(cut.load(Ordering::SeqCst));
                let messages: Vec<Message> = (0..10).map(|offset| support::work(number + offset)).collect();
                number += 10;
                ids.extend(messages.iter().map(|message| message.id));
                support::publish(bus, messages).await?;
            }
            anyhow::Ok(ids)
        }
    };
    let cutter = async {
        // Both connections, twice: the server lists them a moment after they are opened.
        let mut closed = 0;
        let result = eventually("connections are cut", async || {
            closed += vhost.close_connections().await?;
            Ok((closed >= 4).then_some(()))
        });
        let result = result.await;
        cut.store(true, Ordering::SeqCst);
        result
    };
    let (published, cut) =
        tokio::join!(futures::future::try_join_all((0..8).map(|n| publisher(n * 1_000_000))), cutter);
    cut?;
    let ids: HashSet<_> = published?.into_iter().flatten().collect();
    support::take_all(&bus, ids).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_ends_with_its_connection_and_another_goes_on() -> Result<()> {
    let (vhost, bus) = support::bus().await?;
    support::publish(&bus, vec![support::work(1)]).await?;
    let mut consumer = bus.consume(PROCESS_QUEUE, 1).await?;
    let held = support::next(&mut consumer).await?;
    let gone = eventually("a connection is closed", async || Ok((vhost.close_connections().await? > 0).then_some(())));
    gone.await?;
    support::end(consumer).await?;
    assert_eq!(held.ack().await.unwrap_err().code(), Code::Unavailable);
    let mut consumer = eventually("consuming again", async || Ok(bus.consume(PROCESS_QUEUE, 1).await.ok())).await?;
    let again = support::next(&mut consumer).await?;
    assert_eq!(support::number(&again), 1);
    assert!(again.attempt > 1);
    again.ack().await?;
    support::healthy(&bus).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exclusive_queue_goes_with_its_connection() -> Result<()> {
    let (vhost, bus) = support::bus().await?;
    let consumer = bus.declare_exclusive("test.", sker_bus::topology::REALTIME_FANOUT).await?;
    let name = consumer.queue().to_owned();
    let gone = eventually("a connection is closed", async || Ok((vhost.close_connections().await? > 0).then_some(())));
    gone.await?;
    support::end(consumer).await?;
    eventually("the queue is gone", async || Ok(vhost.queue(&name).await?.is_none().then_some(()))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_while_the_bus_closes_is_there_if_it_was_confirmed() -> Result<()> {
    let (vhost, bus) = support::bus().await?;
    let started = AtomicBool::new(false);
    let publisher = |from: u32| {
        let (bus, started) = (&bus, &started);
        async move {
            let mut confirmed = HashSet::new();
            for number in from.. {
                let message = support::work(number);
                let id = message.id;
                match bus.publish(LLM_DIRECT, vec![message]).await {
                    Ok(refused) => assert!(refused.is_empty()),
                    Err(error) => {
                        assert_eq!(error.code(), Code::Unavailable);
                        break;
                    }
                }
                confirmed.insert(id);
                started.store(true, Ordering::SeqCst);
            }
            confirmed
        }
    };
    let closer = async {
        eventually("it is published", async || Ok(started.load(Ordering::SeqCst).then_some(()))).await?;
        bus.close().await;
        anyhow::Ok(())
    };
    let (confirmed, closed) = tokio::join!(futures::future::join_all((0..8).map(|n| publisher(n * 1_000_000))), closer);
    closed?;
    assert!(!bus.is_healthy());
    assert!(bus.consume(PROCESS_QUEUE, 1).await.is_err());
    assert_eq!(bus.depth(PROCESS_QUEUE).await, None);
    let another = AmqpBus::start(&support::config(vhost.url()), "test")?;
    support::healthy(&another).await?;
    support::take_all(&another, confirmed.into_iter().flatten().collect()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_ends_consumers_and_gives_back_what_nobody_took() -> Result<()> {
    let (vhost, bus) = support::bus().await?;
    support::publish(&bus, (0..5).map(support::work).collect()).await?;
    let mut consumer = bus.consume(PROCESS_QUEUE, 5).await?;
    let held = support::next(&mut consumer).await?;
    bus.close().await;
    support::end(consumer).await?;
    assert!(held.ack().await.is_err());
    let another = AmqpBus::start(&support::config(vhost.url()), "test")?;
    support::healthy(&another).await?;
    eventually("all of it is there", async || Ok((another.depth(PROCESS_QUEUE).await == Some(5)).then_some(()))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_that_is_dropped_leaves_no_connection() -> Result<()> {
    let (vhost, bus) = support::bus().await?;
    let consumer = bus.consume(PROCESS_QUEUE, 5).await?;
    drop(bus);
    support::end(consumer).await?;
    // The only consumer of the queue was ours.
    eventually("it is not consumed", async || {
        let queue = vhost.queue(PROCESS_QUEUE).await?;
        Ok(queue.filter(|queue| queue["consumers"].as_u64() == Some(0)).map(drop))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_rabbitmq_every_call_says_so_and_no_word_holds_the_password() -> Result<()> {
    let nobody = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("amqp://sker:hunter2@{}/vhost", nobody.local_addr()?);
    drop(nobody);
    let bus = AmqpBus::start(&support::config(&url), "test")?;
    bus.attempted().await;
    assert!(bus.trouble().is_some_and(|trouble| trouble.contains("cannot be reached")), "{:?}", bus.trouble());
    assert!(!bus.is_healthy());
    let errors = [
        bus.publish(LLM_DIRECT, vec![support::work(1)]).await.unwrap_err(),
        bus.consume(PROCESS_QUEUE, 1).await.unwrap_err(),
        bus.declare_exclusive("test.", LLM_DIRECT).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.code(), Code::Unavailable);
        assert!(!format!("{error} {error:?} {bus:?} {:?}", bus.trouble()).contains("hunter2"));
    }
    assert_eq!(bus.depth(PROCESS_QUEUE).await, None);
    bus.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_first_attempt_the_bus_can_be_used() -> Result<()> {
    let vhost = rabbitmq_vhost().await?;
    let bus = AmqpBus::start(&support::config(vhost.url()), "test")?;
    assert!(!bus.is_healthy());
    bus.attempted().await;
    assert_eq!(bus.trouble(), None);
    assert!(bus.publish(LLM_DIRECT, vec![support::work(1)]).await?.is_empty());
    let mut consumer = bus.consume(PROCESS_QUEUE, 1).await?;
    assert_eq!(support::number(&support::next(&mut consumer).await?), 1);
    // It has been, whatever came after.
    bus.attempted().await;
    bus.close().await;
    bus.attempted().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_named_but_not_told() -> Result<()> {
    let vhost = rabbitmq_vhost().await?;
    let url = vhost.url().replace("guest:guest@", "guest:hunter2@");
    let bus = AmqpBus::start(&support::config(&url), "test")?;
    let trouble =
        eventually("it is refused", async || Ok(bus.trouble().filter(|trouble| trouble.contains("ACCESS_REFUSED"))))
            .await?;
    assert!(!trouble.contains("hunter2"), "{trouble}");
    Ok(())
}

/// A server that takes connections and says nothing, and what it is told first on each.
async fn first_byte(stream: &mut TcpStream) -> Result<u8> {
    Ok(stream.read_u8().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stays_silent_is_left_and_tried_again() -> Result<()> {
    let silent = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("amqp://{}/", silent.local_addr()?);
    let config = AmqpConfig { connect_timeout_ms: 200, ..support::config(&url) };
    let bus = AmqpBus::start(&config, "test")?;
    for _ in 0..4 {
        let (mut stream, _) = silent.accept().await?;
        assert_eq!(first_byte(&mut stream).await?, b'A');
        // It ends, and not only when this side does.
        tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut Vec::new())).await??;
    }
    assert!(bus.trouble().is_some_and(|trouble| trouble.contains("does not answer")));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn amqps_speaks_tls() -> Result<()> {
    const HANDSHAKE: u8 = 0x16;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let bus =
        AmqpBus::start(&support::config(&format!("amqps://localhost:{}/", listener.local_addr()?.port())), "test")?;
    let (mut stream, _) = listener.accept().await?;
    assert_eq!(first_byte(&mut stream).await?, HANDSHAKE);
    assert!(!bus.is_healthy());
    Ok(())
}
