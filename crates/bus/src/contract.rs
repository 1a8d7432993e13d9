//! What every [`Bus`] must do, as one suite that each implementation's tests run.
//!
//! It is test support: a broken promise panics.

use std::{collections::HashSet, future::Future, time::Duration};

use sker_types::Uuid;

use crate::{
    Bus, Consumer, Delivery, Message,
    topology::{
        BATCH_PROCESS_QUEUE, DEAD_LETTER_QUEUE, EVENTS_STORAGE_QUEUE, EVENTS_TOPIC, FIRST_DEATH_QUEUE, LLM_DIRECT,
        PROCESS_QUEUE, REALTIME_FANOUT, UNROUTED_QUEUE, WEBSOCKET_QUEUE_PREFIX, work_queue,
    },
};

/// Runs the suite. `make` gives a bus with the topology declared and its queues empty.
pub async fn run<B, Make, Made>(make: Make)
where
    B: Bus,
    Make: Fn() -> Made,
    Made: Future<Output = B>,
{
    a_message_arrives_whole(make().await).await;
    work_goes_to_the_queue_of_its_priority(make().await).await;
    a_message_that_nobody_is_bound_to_is_named(make().await).await;
    an_event_without_a_listener_is_no_fault(make().await).await;
    an_unknown_exchange_or_queue_is_an_error(make().await).await;
    no_more_is_handed_out_than_the_prefetch(make().await).await;
    what_is_not_acknowledged_comes_again(make().await).await;
    a_dropped_consumer_gives_back_what_nobody_took(make().await).await;
    a_message_that_always_fails_becomes_a_dead_letter(make().await).await;
    a_rejected_message_becomes_a_dead_letter(make().await).await;
    consumers_share_the_work(make().await).await;
    exclusive_queues_hear_everything_and_go_with_their_consumer(make().await).await;
    events_are_kept_and_routed_by_pattern(make().await).await;
    many_publishers_lose_nothing(make().await).await;
}

/// Long enough for a broker under load; nothing here asserts time.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a delivery that must not come is waited for.
const QUIET: Duration = Duration::from_millis(150);

async fn next(consumer: &mut Consumer) -> Delivery {
    tokio::time::timeout(PATIENCE, consumer.recv()).await.expect("a delivery comes").expect("the stream goes on")
}

async fn nothing_comes(consumer: &mut Consumer) {
    let delivery = tokio::time::timeout(QUIET, consumer.recv()).await;
    assert!(delivery.is_err(), "unexpected: {delivery:?}");
}

fn work(number: u32) -> Message {
    let (_, key) = work_queue("content_fusion", "normal");
    Message::json("task.wake", "contract", key, &number).expect("a number is JSON")
}

async fn publish(bus: &impl Bus, exchange: &str, messages: Vec<Message>) {
    let refused = bus.publish(exchange, messages).await.expect("the bus takes messages");
    assert_eq!(refused, Vec::<Uuid>::new(), "nothing is refused");
}

async fn consume(bus: &impl Bus, queue: &str, prefetch: u16) -> Consumer {
    bus.consume(queue, prefetch).await.expect("the queue exists")
}

fn number(delivery: &Delivery) -> u32 {
    delivery.message.parse().expect("the body is a number")
}

async fn ack(delivery: Delivery) {
    delivery.ack().await.expect("the bus hears it");
}

async fn a_message_arrives_whole(bus: impl Bus) {
    let mut sent = work(7).with_traceparent(Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()));
    sent.headers.insert("x-note".to_owned(), "für später".to_owned());
    publish(&bus, LLM_DIRECT, vec![sent.clone()]).await;
    let delivery = next(&mut consume(&bus, PROCESS_QUEUE, 1).await).await;
    assert_eq!(delivery.message, sent);
    assert_eq!(delivery.attempt, 1);
    assert!(bus.is_healthy());
    ack(delivery).await;
}

async fn work_goes_to_the_queue_of_its_priority(bus: impl Bus) {
    for (kind, priority, queue) in [
        ("content_fusion", "urgent", "llm.process.queue.urgent"),
        ("content_fusion", "high", "llm.process.queue.high"),
        ("content_fusion", "normal", "llm.process.queue"),
        ("content_fusion", "low", "llm.process.queue.low"),
        ("batch_processing", "urgent", BATCH_PROCESS_QUEUE),
    ] {
        let (exchange, key) = work_queue(kind, priority);
        let message = Message::json("task.wake", "contract", key, "").expect("a string is JSON");
        publish(&bus, exchange, vec![message.clone()]).await;
        let delivery = next(&mut consume(&bus, queue, 1).await).await;
        assert_eq!(delivery.message.id, message.id, "{kind} {priority}");
        ack(delivery).await;
    }
}

async fn a_message_that_nobody_is_bound_to_is_named(bus: impl Bus) {
    let lost = Message { key: "llm.nowhere".to_owned(), ..work(1) };
    let other = Message { key: "llm.elsewhere".to_owned(), ..work(2) };
    let messages = vec![work(3), lost.clone(), work(4), other.clone()];
    let refused = bus.publish(LLM_DIRECT, messages).await.expect("the bus takes messages");
    assert_eq!(HashSet::from_iter(refused), HashSet::from([lost.id, other.id]));
    let mut consumer = consume(&bus, PROCESS_QUEUE, 10).await;
    let arrived = [next(&mut consumer).await, next(&mut consumer).await];
    assert_eq!(HashSet::from(arrived.each_ref().map(number)), HashSet::from([3, 4]));
}

async fn an_event_without_a_listener_is_no_fault(bus: impl Bus) {
    publish(&bus, REALTIME_FANOUT, vec![work(1)]).await;
    // Results that nobody asked for by that key are kept to be looked at.
    publish(&bus, crate::topology::AI_RESULTS, vec![Message { key: "nobody".to_owned(), ..work(2) }]).await;
    let delivery = next(&mut consume(&bus, UNROUTED_QUEUE, 1).await).await;
    assert_eq!(number(&delivery), 2);
    ack(delivery).await;
}

async fn an_unknown_exchange_or_queue_is_an_error(bus: impl Bus) {
    assert!(bus.publish("no.such.exchange", vec![work(1)]).await.is_err());
    assert!(bus.consume("no.such.queue", 1).await.is_err());
    assert_eq!(bus.depth("no.such.queue").await, None);
    publish(&bus, LLM_DIRECT, vec![work(1)]).await;
}

async fn no_more_is_handed_out_than_the_prefetch(bus: impl Bus) {
    publish(&bus, LLM_DIRECT, (0..5).map(work).collect()).await;
    let mut consumer = consume(&bus, PROCESS_QUEUE, 2).await;
    let first = next(&mut consumer).await;
    let _second = next(&mut consumer).await;
    nothing_comes(&mut consumer).await;
    ack(first).await;
    let _third = next(&mut consumer).await;
    nothing_comes(&mut consumer).await;
}

async fn what_is_not_acknowledged_comes_again(bus: impl Bus) {
    publish(&bus, LLM_DIRECT, vec![work(1)]).await;
    let mut consumer = consume(&bus, PROCESS_QUEUE, 1).await;
    next(&mut consumer).await.requeue().await.expect("the bus hears it");
    let again = next(&mut consumer).await;
    assert_eq!(number(&again), 1);
    assert!(again.attempt >= 2, "attempt {}", again.attempt);
    drop(again);
    let delivery = next(&mut consumer).await;
    drop(consumer);
    drop(delivery);
    let mut another = consume(&bus, PROCESS_QUEUE, 1).await;
    ack(next(&mut another).await).await;
    nothing_comes(&mut another).await;
}

async fn a_dropped_consumer_gives_back_what_nobody_took(bus: impl Bus) {
    publish(&bus, LLM_DIRECT, (0..5).map(work).collect()).await;
    let mut consumer = consume(&bus, PROCESS_QUEUE, 5).await;
    let held = next(&mut consumer).await;
    drop(consumer);
    let mut another = consume(&bus, PROCESS_QUEUE, 5).await;
    let mut seen = HashSet::from([number(&held)]);
    for _ in 0..4 {
        let delivery = next(&mut another).await;
        seen.insert(number(&delivery));
        ack(delivery).await;
    }
    assert_eq!(seen, (0..5).collect());
    nothing_comes(&mut another).await;
    // What is in hand can still be settled.
    held.requeue().await.expect("the bus hears it");
    ack(next(&mut another).await).await;
}

async fn a_message_that_always_fails_becomes_a_dead_letter(bus: impl Bus) {
    let (poison, wholesome) = (work(1), work(2));
    publish(&bus, LLM_DIRECT, vec![poison.clone(), wholesome.clone()]).await;
    let mut consumer = consume(&bus, PROCESS_QUEUE, 1).await;
    let mut dead = consume(&bus, DEAD_LETTER_QUEUE, 1).await;
    let mut deliveries = 0;
    let letter = loop {
        tokio::select! {
            letter = next(&mut dead) => break letter,
            delivery = next(&mut consumer) => {
                deliveries += 1;
                assert!(deliveries < 100, "it is delivered for ever");
                match delivery.message.id == poison.id {
                    true => delivery.requeue().await.expect("the bus hears it"),
                    false => ack(delivery).await,
                }
            }
        }
    };
    assert_eq!(letter.message.id, poison.id);
    assert_eq!(letter.message.headers.get(FIRST_DEATH_QUEUE).map(String::as_str), Some(PROCESS_QUEUE));
    ack(letter).await;
}

async fn a_rejected_message_becomes_a_dead_letter(bus: impl Bus) {
    let message = work(1);
    publish(&bus, LLM_DIRECT, vec![message.clone()]).await;
    let mut consumer = consume(&bus, PROCESS_QUEUE, 1).await;
    next(&mut consumer).await.reject().await.expect("the bus hears it");
    let letter = next(&mut consume(&bus, DEAD_LETTER_QUEUE, 1).await).await;
    assert_eq!((letter.message.id, &letter.message.body), (message.id, &message.body));
    ack(letter).await;
    nothing_comes(&mut consumer).await;
}

async fn consumers_share_the_work(bus: impl Bus) {
    let mut one = consume(&bus, PROCESS_QUEUE, 5).await;
    let mut other = consume(&bus, PROCESS_QUEUE, 5).await;
    publish(&bus, LLM_DIRECT, (0..10).map(work).collect()).await;
    let mut seen = HashSet::new();
    for consumer in [&mut one, &mut other] {
        let mut held = Vec::new();
        for _ in 0..5 {
            held.push(next(consumer).await);
        }
        seen.extend(held.iter().map(number));
        for delivery in held {
            ack(delivery).await;
        }
    }
    assert_eq!(seen, (0..10).collect());
}

async fn exclusive_queues_hear_everything_and_go_with_their_consumer(bus: impl Bus) {
    let declare = || bus.declare_exclusive(WEBSOCKET_QUEUE_PREFIX, REALTIME_FANOUT);
    let mut one = declare().await.expect("the exchange exists");
    let mut other = declare().await.expect("the exchange exists");
    assert_ne!(one.queue(), other.queue());
    assert!(one.queue().starts_with(WEBSOCKET_QUEUE_PREFIX));
    // More than is held at a time, and settled in every way: none comes twice and none blocks the next.
    let count = 1_000;
    publish(&bus, REALTIME_FANOUT, (0..count).map(work).collect()).await;
    for consumer in [&mut one, &mut other] {
        for expected in 0..count {
            let delivery = next(consumer).await;
            assert_eq!(number(&delivery), expected, "order is kept");
            match expected % 3 {
                0 => ack(delivery).await,
                1 => delivery.requeue().await.expect("the bus hears it"),
                _ => drop(delivery),
            }
        }
    }
    let name = one.queue().to_owned();
    drop(one);
    publish(&bus, REALTIME_FANOUT, vec![work(1)]).await;
    assert_eq!(number(&next(&mut other).await), 1);
    let gone = async {
        while bus.depth(&name).await.is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("the queue goes");
}

async fn events_are_kept_and_routed_by_pattern(bus: impl Bus) {
    let mut listener = bus.declare_exclusive("events.test.", EVENTS_TOPIC).await.expect("the exchange exists");
    for key in ["node.created", "ai_task.completed"] {
        publish(&bus, EVENTS_TOPIC, vec![Message { key: key.to_owned(), ..work(1) }]).await;
        let delivery = next(&mut listener).await;
        assert_eq!(delivery.message.key, key);
        ack(delivery).await;
    }
    let mut storage = consume(&bus, EVENTS_STORAGE_QUEUE, 2).await;
    assert_eq!(next(&mut storage).await.message.key, "node.created");
}

async fn many_publishers_lose_nothing(bus: impl Bus) {
    let publishers = (0..20).map(|publisher| {
        let bus = &bus;
        async move {
            for round in 0..5 {
                let messages = (0..4).map(|number| work(publisher * 20 + round * 4 + number)).collect();
                publish(bus, LLM_DIRECT, messages).await;
            }
        }
    });
    let work = async {
        let mut consumer = consume(&bus, PROCESS_QUEUE, 7).await;
        let mut seen = HashSet::new();
        while seen.len() < 400 {
            let delivery = next(&mut consumer).await;
            seen.insert(number(&delivery));
            ack(delivery).await;
        }
        seen
    };
    let (_, seen) = futures::future::join(futures::future::join_all(publishers), work).await;
    assert_eq!(seen, (0..400).collect());
}
