//! Carrying a batch of rows out, and knowing which of them arrived.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use sker_bus::{
    Bus, Message,
    topology::{EVENTS_TOPIC, REALTIME_FANOUT},
};
use sker_cache::{NewEvent, RealtimeLog};
use sker_error::{Error, Result};
use sker_types::Uuid;

use crate::{OutboxRow, RelayMetrics};

/// How long one call to the bus or the log may take. What it was about is then repeated.
const CALL_DEADLINE: Duration = Duration::from_secs(10);

/// Where a message goes. One that the bus refuses holds up the others of its route, because order is promised within it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Route {
    pub(crate) exchange: String,
    /// `None`: whatever the key. Events of one aggregate have several keys.
    pub(crate) key: Option<String>,
}

impl Route {
    fn of(exchange: &str, key: &str) -> Self {
        let key = (exchange != EVENTS_TOPIC).then(|| key.to_owned());
        Route { exchange: exchange.to_owned(), key }
    }
}

/// What became of a batch.
#[derive(Default)]
pub(crate) struct Outcome {
    /// Rows that are carried out completely, in their order.
    pub(crate) done: Vec<OutboxRow>,
    /// Routes on which the bus refused something.
    pub(crate) refused: HashSet<Route>,
    /// The log took something.
    pub(crate) log_answers: bool,
    /// The log does not answer: rows that show in channels wait.
    pub(crate) log_error: Option<Error>,
    /// The bus does not answer: everything waits.
    pub(crate) bus_error: Option<Error>,
}

pub(crate) struct Publisher<'a> {
    pub(crate) bus: &'a dyn Bus,
    pub(crate) log: &'a dyn RealtimeLog,
    pub(crate) source: &'a str,
    pub(crate) metrics: &'a RelayMetrics,
}

impl Publisher<'_> {
    /// Carries out rows: messages first, since they wait for no log, then events, into their channels in order and then to
    /// their exchange.
    pub(crate) async fn publish(&self, rows: Vec<OutboxRow>) -> Outcome {
        let mut outcome = Outcome::default();
        let mut done = HashSet::new();
        if let Err(error) = self.carry(&rows, &mut done, &mut outcome).await {
            outcome.bus_error = Some(error);
        }
        outcome.done = rows.into_iter().filter(|row| done.contains(&row.position)).collect();
        outcome
    }

    /// An error is the bus's.
    async fn carry(&self, rows: &[OutboxRow], done: &mut HashSet<i64>, outcome: &mut Outcome) -> Result<()> {
        let (events, messages): (Vec<&OutboxRow>, Vec<&OutboxRow>) = rows.iter().partition(|row| is_event(row));
        self.send_in_waves(&messages, done, &mut outcome.refused).await?;
        let shown = self.show(&events, outcome).await?;
        // With the log away all events wait: one that shows nowhere must not overtake one of its aggregate that does.
        let is_ready = |row: &&OutboxRow| match row.channels.0.is_empty() {
            true => outcome.log_error.is_none(),
            false => shown.contains(&row.position),
        };
        let ready: Vec<&OutboxRow> = events.into_iter().filter(is_ready).collect();
        done.extend(ready.iter().filter(|row| row.exchange.is_none()).map(|row| row.position));
        self.send_in_waves(&ready, done, &mut outcome.refused).await
    }

    async fn send_in_waves(
        &self,
        rows: &[&OutboxRow],
        done: &mut HashSet<i64>,
        refused: &mut HashSet<Route>,
    ) -> Result<()> {
        for ((_, exchange), rows) in waves(rows) {
            // A route that refused a row takes none after it.
            let rows = rows.into_iter().filter(|row| !refused.contains(&Route::of(exchange, &row.key))).collect();
            self.send(exchange, rows, done, refused).await?;
        }
        Ok(())
    }

    /// Appends rows to their channels and tells the gateways; answers the positions of those that are shown. An error is
    /// the bus's. Once the log fails, later rows wait, or a channel's order would break.
    async fn show(&self, rows: &[&OutboxRow], outcome: &mut Outcome) -> Result<HashSet<i64>> {
        let mut shown = HashSet::new();
        let mut messages = Vec::new();
        'rows: for row in rows.iter().filter(|row| !row.channels.0.is_empty()) {
            for channel in &row.channels.0 {
                match self.append(channel, row).await {
                    Ok(message) => {
                        outcome.log_answers = true;
                        messages.push(message);
                    }
                    Err(error) => {
                        outcome.log_error = Some(error);
                        break 'rows;
                    }
                }
            }
            shown.insert(row.position);
        }
        if !messages.is_empty() {
            // Whatever is not taken is no loss: a gateway that misses an event reads it from the log.
            deadline(self.bus.publish(REALTIME_FANOUT, messages)).await?;
        }
        Ok(shown)
    }

    async fn append(&self, channel: &str, row: &OutboxRow) -> Result<Message> {
        let event = NewEvent { kind: row.kind.clone(), id: row.id, time: row.created_at, data: row.data.clone() };
        let event = deadline(self.log.append(channel, event)).await?;
        let message = Message::json(&row.kind, self.source, channel, &event)?;
        Ok(self.stamp(message, row))
    }

    /// Publishes rows on one exchange and notes which were taken and which routes refused.
    async fn send(
        &self,
        exchange: &str,
        rows: Vec<&OutboxRow>,
        done: &mut HashSet<i64>,
        refused: &mut HashSet<Route>,
    ) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut messages = Vec::with_capacity(rows.len());
        for row in &rows {
            let message = match exchange {
                EVENTS_TOPIC => Message::json(&row.kind, self.source, &row.key, &row.to_event())?,
                _ => Message::json(&row.kind, self.source, &row.key, &row.data)?,
            };
            messages.push(self.stamp(message, row));
        }
        let not_taken: HashSet<Uuid> = deadline(self.bus.publish(exchange, messages)).await?.into_iter().collect();
        for row in rows {
            if not_taken.contains(&row.id) {
                refused.insert(Route::of(exchange, &row.key));
            } else {
                done.insert(row.position);
            }
        }
        self.metrics.refused.with_label_values(&[exchange]).inc_by(not_taken.len() as u64);
        Ok(())
    }

    /// Gives a message what stays the same when it is sent again.
    fn stamp(&self, message: Message, row: &OutboxRow) -> Message {
        let mut message = message.with_id(row.id).with_traceparent(row.traceparent.clone());
        message.time = row.created_at;
        message
    }
}

/// Whether a row has to do with the realtime log, be it that another one of its aggregate shows there. The others are
/// messages: work to be done.
fn is_event(row: &OutboxRow) -> bool {
    row.exchange.as_deref().is_none_or(|exchange| exchange == EVENTS_TOPIC)
}

/// Splits rows so that no call to the bus has two of the same aggregate on the same exchange: a call may take the second and
/// refuse the first. Waves are in order, and rows keep their order within one.
fn waves<'a>(rows: &[&'a OutboxRow]) -> BTreeMap<(usize, &'a str), Vec<&'a OutboxRow>> {
    let mut seen: HashMap<(Uuid, &str), usize> = HashMap::new();
    let mut waves: BTreeMap<(usize, &str), Vec<&OutboxRow>> = BTreeMap::new();
    for row in rows {
        let Some(exchange) = row.exchange.as_deref() else { continue };
        let count = seen.entry((row.aggregate_id, exchange)).or_default();
        waves.entry((*count, exchange)).or_default().push(row);
        *count += 1;
    }
    waves
}

async fn deadline<T>(call: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(CALL_DEADLINE, call).await {
        Ok(result) => result,
        Err(elapsed) => Err(Error::timeout("no answer in time").with_cause(elapsed)),
    }
}
