use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use prometheus::IntCounter;
use sker_bus::{Bus, Consumer, Delivery, topology::WORK_QUEUES};
use sker_traffic::Backoff;

/// The most deliveries of a queue that are held unclaimed: whatever more a full broker held, it would keep from others.
const MOST_PREFETCH: usize = 32;

/// Failures to consume before somebody is told.
const WARN_AFTER: u32 = 4;

/// Deliveries from all work queues, by weight: while every queue has work, each gets its share, so that urgent work goes
/// first and low priorities are slow but never starve. The choice is smooth weighted round robin, as in nginx.
pub(super) struct Intake {
    lanes: Vec<Lane>,
    taken: IntCounter,
}

struct Lane {
    weight: i64,
    /// What it is owed.
    credit: i64,
    deliveries: BoxStream<'static, Delivery>,
    /// Taken from the queue and not yet given out.
    head: Option<Delivery>,
}

impl Intake {
    /// An intake for a broker of that many slots; `taken` counts what it gives out. Consumes from the first wait on; dropping
    /// it gives everything back to the queues.
    pub(super) fn new(bus: &Arc<dyn Bus>, slots: usize, taken: IntCounter) -> Self {
        let prefetch = u16::try_from(slots.min(MOST_PREFETCH)).unwrap_or(u16::MAX);
        let lane = |&(queue, weight): &(&'static str, u32)| Lane {
            weight: i64::from(weight),
            credit: 0,
            deliveries: deliveries(Arc::clone(bus), queue, prefetch).boxed(),
            head: None,
        };
        Intake { lanes: WORK_QUEUES.iter().map(lane).collect(), taken }
    }

    /// Waits for work and takes what is there, at most `most` deliveries. Nothing is lost when the future is dropped.
    pub(super) async fn next_batch(&mut self, most: usize) -> Vec<Delivery> {
        poll_fn(|context| {
            let mut batch = Vec::new();
            while batch.len() < most
                && let Some(delivery) = self.take(context)
            {
                batch.push(delivery);
            }
            self.taken.inc_by(batch.len() as u64);
            if batch.is_empty() { Poll::Pending } else { Poll::Ready(batch) }
        })
        .await
    }

    /// The next delivery, if any queue has one.
    fn take(&mut self, context: &mut Context<'_>) -> Option<Delivery> {
        for lane in self.lanes.iter_mut().filter(|lane| lane.head.is_none()) {
            if let Poll::Ready(head) = lane.deliveries.poll_next_unpin(context) {
                lane.head = head;
            }
        }
        let ready = self.lanes.iter_mut().filter(|lane| lane.head.is_some());
        let (mut owed, mut best): (i64, Option<&mut Lane>) = (0, None);
        for lane in ready {
            lane.credit += lane.weight;
            owed += lane.weight;
            if best.as_ref().is_none_or(|best| lane.credit > best.credit) {
                best = Some(lane);
            }
        }
        let best = best?;
        best.credit -= owed;
        best.head.take()
    }
}

/// The deliveries of a queue without end: consumes again whenever its consumer has ended.
fn deliveries(
    bus: Arc<dyn Bus>,
    queue: &'static str,
    prefetch: u16,
) -> impl stream::Stream<Item = Delivery> + Send + 'static {
    let backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
    stream::unfold((bus, None::<Consumer>, 0_u32), move |(bus, mut consumer, mut failures)| async move {
        loop {
            if let Some(taking) = &mut consumer {
                if let Some(delivery) = taking.recv().await {
                    return Some((delivery, (bus, consumer, 0)));
                }
                consumer = None;
            } else {
                match bus.consume(queue, prefetch).await {
                    Ok(begun) => {
                        consumer = Some(begun);
                        continue;
                    }
                    // Not at once: at the start the bus may still be connecting.
                    Err(error) if failures == WARN_AFTER => {
                        tracing::warn!(queue, error = %error, "cannot consume {queue}, trying on");
                    }
                    Err(_) => {}
                }
            }
            tokio::time::sleep(backoff.delay(failures)).await;
            failures = failures.saturating_add(1);
        }
    })
}
