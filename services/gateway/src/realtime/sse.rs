//! `GET /api/v1/events`: one channel as server-sent events (the HTML standard's event stream).

use std::{fmt::Write, rc::Rc, sync::Arc};

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use sker_error::{Error, Result};
use sker_runtime::QueryFields;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};

use super::{Feed, Mailbox, Outgoing, Session, end::too_slow};
use crate::{
    app::{frame, request::bearer},
    http::{Exchange, Worker},
    upstream::Body,
};

/// Pieces that wait for the client before the queue of events begins to fill.
const PIECES: usize = 16;

/// Opens a stream.
pub async fn open(worker: &Rc<Worker>, exchange: Exchange) -> Result<Response<Body>> {
    let gateway = Arc::clone(&worker.gateway);
    let mut query = QueryFields::parse(exchange.parts.uri.query().unwrap_or_default())?;
    let token = query.text("token");
    let token = bearer(&exchange.parts.headers).map(str::to_owned).or(token);
    let shown = query.bounded("channel", 200);
    if shown.is_none() {
        query.fault("channel", "required", "this parameter is required");
    }
    let after = query.integer("after", 0..=i64::MAX).and_then(|after| u64::try_from(after).ok());
    let token = token.ok_or_else(|| Error::unauthenticated("this path needs a bearer token"))?;
    let session = Session::begin(&gateway, &token, Arc::clone(&exchange.request_id))?;
    query.finish()?;
    let after = last_event_id(&exchange)?.or(after);
    let shown = shown.unwrap_or_default();
    let channel = session.channel(&gateway, &shown).await?;
    let mut mailbox = gateway.hub.open();
    mailbox.join(&channel);
    let mut feed = Feed::begin(channel, shown, after, &gateway.log).await?;
    let missed = if after.is_some() { feed.catch_up(&gateway.log).await? } else { Vec::new() };
    let (pieces, body) = mpsc::channel(PIECES);
    let stream = Stream { worker: Rc::clone(worker), pieces, mailbox, feed, session };
    worker.tracker.spawn_local(stream.run(missed));
    let mut response = Response::new(Body::Events(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx would hold events back until it has a bufferful.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

fn last_event_id(exchange: &Exchange) -> Result<Option<u64>> {
    match exchange.parts.headers.get("last-event-id") {
        None => Ok(None),
        Some(value) if value.is_empty() => Ok(None),
        Some(value) => {
            let number = value.to_str().ok().and_then(|text| text.parse().ok());
            number.map(Some).ok_or_else(|| Error::invalid_request("Last-Event-ID must be the number of an event"))
        }
    }
}

struct Stream {
    worker: Rc<Worker>,
    pieces: mpsc::Sender<Bytes>,
    mailbox: Mailbox,
    feed: Feed,
    session: Session,
}

impl Stream {
    async fn run(mut self, missed: Vec<Outgoing>) {
        let Err(Some(error)) = self.serve(missed).await else { return };
        let Stream { worker, pieces, mailbox, .. } = self;
        drop(mailbox);
        let goodbye = pieces.send(piece("error", None, &frame::error(&error, None)));
        // Whether the client hears it is its own affair.
        let _ = timeout(worker.gateway.config.realtime.close, goodbye).await;
    }

    /// Runs until the stream is to end: with an error that the client is told, or without a word.
    async fn serve(&mut self, missed: Vec<Outgoing>) -> Result<(), Option<Error>> {
        let gateway = Arc::clone(&self.worker.gateway);
        let expiry = Instant::now() + self.session.left();
        let mut alive = interval(gateway.config.realtime.ping);
        alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        alive.reset();
        self.put(Bytes::from_static(b"retry: 1000\n\n")).await?;
        self.pass_all(missed).await?;
        let (slow, stop) = (self.mailbox.slow(), self.worker.stop.clone());
        loop {
            let item = tokio::select! {
                biased;
                // A stream that ends is opened again by the browser, elsewhere.
                () = stop.cancelled() => return Err(None),
                () = self.pieces.closed() => return Err(None),
                () = slow.cancelled() => return Err(Some(too_slow())),
                () = sleep_until(expiry) => return Err(Some(Error::unauthenticated("the token has expired"))),
                _ = alive.tick() => {
                    self.put(Bytes::from_static(b":\n\n")).await?;
                    continue;
                }
                item = self.mailbox.recv() => item,
            };
            let Some(item) = item else { return Err(None) };
            let out = tokio::select! {
                biased;
                () = stop.cancelled() => return Err(None),
                () = self.pieces.closed() => return Err(None),
                () = slow.cancelled() => return Err(Some(too_slow())),
                out = self.feed.hear(item, &gateway.log) => out,
            };
            match out {
                Ok(out) => self.pass_all(out).await?,
                Err(error) => gateway.hub.owe(&self.feed.channel, &error),
            }
        }
    }

    async fn pass_all(&mut self, out: Vec<Outgoing>) -> Result<(), Option<Error>> {
        for one in out {
            let piece = match one {
                Outgoing::Event(event) => piece(&event.kind, Some(event.seq), event.text_as(&self.feed.shown).as_str()),
                Outgoing::Reset(latest) => piece("reset", Some(latest), &frame::reset(&self.feed.shown, latest)),
            };
            self.put(piece).await?;
        }
        Ok(())
    }

    async fn put(&mut self, piece: Bytes) -> Result<(), Option<Error>> {
        let (slow, stop) = (self.mailbox.slow(), self.worker.stop.clone());
        tokio::select! {
            biased;
            () = stop.cancelled() => Err(None),
            () = slow.cancelled() => Err(Some(too_slow())),
            sent = self.pieces.send(piece) => sent.map_err(|_| None),
        }
    }
}

/// An event as it stands in the stream.
fn piece(kind: &str, id: Option<u64>, data: &str) -> Bytes {
    let mut text = String::with_capacity(data.len() + kind.len() + 48);
    // Writing to a String cannot fail.
    let _ = writeln!(text, "event: {}", kind.lines().next().unwrap_or_default());
    if let Some(id) = id {
        let _ = writeln!(text, "id: {id}");
    }
    for line in data.lines() {
        let _ = writeln!(text, "data: {line}");
    }
    text.push('\n');
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_written_as_browsers_read_it() {
        assert_eq!(piece("a.b", Some(7), "{\"n\":1}"), "event: a.b\nid: 7\ndata: {\"n\":1}\n\n");
        assert_eq!(piece("error", None, "one\ntwo"), "event: error\ndata: one\ndata: two\n\n");
    }
}
