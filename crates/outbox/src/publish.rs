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
    /// Carries out rows: first into their channels, in order, then to their exchanges.
    pub(crate) async fn publish(&self, rows: Vec<OutboxRow>, log_is_down: bool) -> Outcome {
        let mut outcome = Outcome::default();
        let mut shown = HashSet::new();
        if !log_is_down {
            match self.show(&rows, &mut outcome).await {
                Ok(positions) => shown = positions,
                Err(error) => {
                    outcome.bus_error = Some(error);
                    return outcome;
                }
            }
        }
        // With the log away all events wait: one that shows nowhere must not overtake one of its aggregate that does.
        let log_is_down = log_is_down || outcome.log_error.is_some();
        let waits = |row: &OutboxRow| log_is_down && row.exchange.as_deref() == Some(EVENTS_TOPIC);
        let is_ready = |row: &OutboxRow| match row.channels.0.is_empty() {
            true => !waits(row),
            false => shown.contains(&row.position),
        };
        let ready: Vec<&OutboxRow> = rows.iter().filter(|row| is_ready(row)).collect();
        let mut done: HashSet<i64> =
            ready.iter().filter(|row| row.exchange.is_none()).map(|row| row.position).collect();
        for ((_, exchange), rows) in waves(&ready) {
            // A route that refused a row takes none after it.
            let rows = rows.into_iter().filter(|row| !outcome.refused.contains(&Route::of(exchange, &row.key)));
            if let Err(error) = self.send(exchange, rows.collect(), &mut done, &mut outcome.refused).await {
                outcome.bus_error = Some(error);
                break;
            }
        }
        outcome.done = rows.into_iter().filter(|row| done.contains(&row.position)).collect();
        outcome
    }

    /// Appends rows to their channels and tells the gateways; answers the positions of those that are shown. An error is
    /// the bus's. Once the log fails, later rows wait, or a channel's order would break.
    async fn show(&self, rows: &[OutboxRow], outcome: &mut Outcome) -> Result<HashSet<i64>> {
        let mut shown = HashSet::new();
        let mut messages = Vec::new();
        'rows: for row in rows.iter().filter(|row| !row.channels.0.is_empty()) {
            for channel in &row.channels.0 {
                match self.append(channel, row).await {
                    Ok(message) => messages.push(message),
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
