//! Messages as AMQP carries them: the body as it is, the attributes of CloudEvents as headers (binary mode, "AMQP Protocol
//! Binding for CloudEvents 1.0", section 3.1), everything else as headers of the same name.

use std::collections::BTreeMap;

use lapin::{
    BasicProperties,
    message::Delivery,
    types::{AMQPValue, FieldTable, LongString, ShortString},
};
use sker_types::{Time, Uuid};

use crate::Message;

const ATTRIBUTES: &str = "cloudEvents:";
const ID: &str = "cloudEvents:id";
const TYPE: &str = "cloudEvents:type";
const SOURCE: &str = "cloudEvents:source";
const TIME: &str = "cloudEvents:time";
const VERSION: &str = "cloudEvents:specversion";
const DELIVERY_COUNT: &str = "x-delivery-count";

const PERSISTENT: u8 = 2;
/// All headers of a message have to fit into one frame, of which RabbitMQ allows 128 KiB.
const MAX_HEADER_BYTES: usize = 32 << 10;

/// A message ready to be published.
pub(super) struct Outgoing {
    pub(super) id: Uuid,
    pub(super) key: ShortString,
    pub(super) properties: BasicProperties,
    pub(super) body: bytes::Bytes,
}

/// Fails with what is wrong for a message that would end the channel or the connection for everybody.
pub(super) fn write(message: Message, max_bytes: usize) -> Result<Outgoing, &'static str> {
    let bytes = message.bytes();
    if bytes > max_bytes {
        return Err("it is too large");
    }
    if bytes - message.body.len() > MAX_HEADER_BYTES {
        return Err("its headers are too large");
    }
    let key = ShortString::try_new(message.key).map_err(|_| "its routing key is too long")?;
    let mut headers = FieldTable::default();
    let mut put = |name: ShortString, value: &str| {
        headers.insert(name, AMQPValue::LongString(LongString::from(value)));
    };
    let id = message.id.hyphenated().to_string();
    put(VERSION.into(), "1.0");
    put(ID.into(), &id);
    put(TYPE.into(), &message.kind);
    put(SOURCE.into(), &message.source);
    put(TIME.into(), &message.time.to_rfc3339());
    for (name, value) in &message.headers {
        put(ShortString::try_new(name.as_str()).map_err(|_| "the name of a header is too long")?, value);
    }
    let properties = BasicProperties::default()
        .with_message_id(id.into())
        .with_content_type("application/json".into())
        .with_delivery_mode(PERSISTENT)
        .with_headers(headers);
    Ok(Outgoing { id: message.id, key, properties, body: message.body })
}

/// What was delivered, if it is a [`Message`] of a bearable size.
pub(super) fn read(delivery: &mut Delivery, max_bytes: usize) -> Result<Message, &'static str> {
    if delivery.data.len() > max_bytes {
        return Err("it is too large");
    }
    let text = |name| header(&delivery.properties, name);
    let message = Message {
        id: id(&delivery.properties).ok_or("it has no id that is a UUID")?,
        kind: text(TYPE).ok_or("it has no type")?,
        source: text(SOURCE).ok_or("it has no source")?,
        time: text(TIME).and_then(|time| time.parse().ok()).ok_or("it has no time")?,
        key: delivery.routing_key.to_string(),
        headers: headers(&delivery.properties),
        body: bytes::Bytes::new(),
    };
    Ok(Message { body: std::mem::take(&mut delivery.data).into(), ..message })
}

/// What can be read of anything, for queues from which a message that is rejected would be lost.
pub(super) fn salvage(delivery: &mut Delivery) -> Message {
    let text = |name| header(&delivery.properties, name);
    let time = || Time::from_timestamp_secs(i64::try_from(delivery.properties.timestamp().as_ref().copied()?).ok()?);
    let message = Message {
        id: id(&delivery.properties).unwrap_or_else(sker_types::new_id),
        kind: text(TYPE).unwrap_or_else(|| "unknown".to_owned()),
        source: text(SOURCE).unwrap_or_else(|| "unknown".to_owned()),
        time: text(TIME).and_then(|time| time.parse().ok()).or_else(time).unwrap_or_else(sker_types::now),
        key: delivery.routing_key.to_string(),
        headers: headers(&delivery.properties),
        body: bytes::Bytes::new(),
    };
    Message { body: std::mem::take(&mut delivery.data).into(), ..message }
}

/// Which delivery of the message this is. Quorum queues count those before; of others one only learns that there were some.
pub(super) fn attempt(delivery: &Delivery) -> u32 {
    let count = delivery.properties.headers().as_ref().and_then(|headers| number(headers.inner().get(DELIVERY_COUNT)?));
    match count {
        Some(before) => u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1),
        None => 1 + u32::from(delivery.redelivered),
    }
}

/// The id that a message was published with.
pub(super) fn id(properties: &BasicProperties) -> Option<Uuid> {
    let id = properties.message_id().as_ref().map(ShortString::to_string).or_else(|| header(properties, ID))?;
    Uuid::try_parse(&id).ok()
}

fn header(properties: &BasicProperties, name: &str) -> Option<String> {
    text(properties.headers().as_ref()?.inner().get(name)?)
}

/// Those that are text: the others are RabbitMQ's own notes.
fn headers(properties: &BasicProperties) -> BTreeMap<String, String> {
    let table = properties.headers().as_ref().into_iter().flat_map(|table| table.inner());
    table
        .filter(|(name, _)| !name.as_str().starts_with(ATTRIBUTES))
        .filter_map(|(name, value)| Some((name.to_string(), text(value)?)))
        .collect()
}

fn text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}

fn number(value: &AMQPValue) -> Option<u64> {
    match *value {
        AMQPValue::ShortShortInt(number) => u64::try_from(number).ok(),
        AMQPValue::ShortShortUInt(number) => Some(number.into()),
        AMQPValue::ShortInt(number) => u64::try_from(number).ok(),
        AMQPValue::ShortUInt(number) => Some(number.into()),
        AMQPValue::LongInt(number) => u64::try_from(number).ok(),
        AMQPValue::LongUInt(number) => Some(number.into()),
        AMQPValue::LongLongInt(number) => u64::try_from(number).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 1 << 20;

    fn delivered(outgoing: Outgoing) -> Delivery {
        let mut delivery = Delivery::mock(1, "x".into(), outgoing.key, false, outgoing.body.to_vec());
        delivery.properties = outgoing.properties;
        delivery
    }

    proptest! {
        #[test]
        fn any_message_is_read_as_it_was_written(
            id: u128,
            texts in [".*", ".*", ".{0,60}"],
            micros in 0..4_000_000_000_000_000_i64,
            headers in proptest::collection::btree_map("[a-z-]{1,40}", ".*", 0..4),
            body: Vec<u8>,
        ) {
            let [kind, source, key] = texts;
            let message = Message {
                id: Uuid::from_u128(id),
                kind,
                source,
                time: sker_types::from_micros(micros),
                key,
                headers,
                body: body.into(),
            };
            let mut delivery = delivered(write(message.clone(), MAX).expect("it is small"));
            prop_assert_eq!(read(&mut delivery, MAX).expect("it was written"), message);
        }

        #[test]
        fn nothing_foreign_is_a_panic(
            id in proptest::option::of(".{0,40}"),
            headers in proptest::collection::btree_map("(cloudEvents:)?(id|type|time|source)", ".{0,20}", 0..5),
            body: Vec<u8>,
        ) {
            let mut table = FieldTable::default();
            for (name, value) in headers {
                table.insert(name.into(), AMQPValue::LongString(value.into()));
            }
            let mut delivery = Delivery::mock(1, "x".into(), "key".into(), false, body.clone());
            delivery.properties = BasicProperties::default().with_headers(table);
            if let Some(id) = id.and_then(|id| ShortString::try_new(id).ok()) {
                delivery.properties = delivery.properties.with_message_id(id);
            }
            let body_read = match read(&mut delivery, MAX) {
                Ok(message) => message.body,
                Err(_) => salvage(&mut delivery).body,
            };
            prop_assert_eq!(body_read, body);
        }
    }

    #[test]
    fn what_would_end_the_channel_is_refused_before() {
        let message = || Message::json("kind", "source", "key", "").expect("JSON");
        assert!(write(Message { body: vec![b' '; MAX + 1].into(), ..message() }, MAX).is_err());
        assert!(write(Message { key: "k".repeat(256), ..message() }, MAX).is_err());
        let long = |name: usize, value: usize| BTreeMap::from([("n".repeat(name), "v".repeat(value))]);
        assert!(write(Message { headers: long(256, 1), ..message() }, MAX).is_err());
        assert!(write(Message { headers: long(1, 40 << 10), ..message() }, MAX).is_err());
        assert!(write(Message { headers: long(255, 1), ..message() }, MAX).is_ok());
    }

    #[test]
    fn the_attempt_counts_from_one_by_whatever_the_queue_tells() {
        let mut delivery = Delivery::mock(1, "x".into(), "key".into(), false, Vec::new());
        assert_eq!(attempt(&delivery), 1);
        delivery.redelivered = true;
        assert_eq!(attempt(&delivery), 2);
        let mut headers = FieldTable::default();
        headers.insert(DELIVERY_COUNT.into(), AMQPValue::LongLongInt(6));
        delivery.properties = BasicProperties::default().with_headers(headers);
        assert_eq!(attempt(&delivery), 7);
    }
}
