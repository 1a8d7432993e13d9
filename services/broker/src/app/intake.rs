use std::{sync::Arc, time::Duration};

use futures::{FutureExt, future::select_all};
use sker_bus::{Bus, Consumer, Delivery, topology::WORK_QUEUES};
use sker_traffic::Backoff;
use tokio::time::Instant;

/// Deliveries from all work queues, by weight: while every queue has work, each gets its share, so that urgent work goes
/// first and low priorities are slow but never starve. The choice is smooth weighted round robin, as in nginx.
pub(super) struct Intake {
    bus: Arc<dyn Bus>,
    prefetch: u16,
    lanes: Vec<Lane>,
}

struct Lane {
    queue: &'static str,
    weight: i64,
    /// What it is owed.
    credit: i64,
    consumer: Option<Consumer>,
    /// Taken from the queue and not yet given out.
    head: Option<Delivery>,
    failures: u32,
    /// When to try to consume again.
    retry_at: Option<Instant>,
}

impl Intake {
    /// An intake that holds at most `prefetch` unsettled deliveries per queue.
    pub(super) fn new(bus: Arc<dyn Bus>, prefetch: u16) -> Self {
        let lanes = WORK_QUEUES
            .iter()
            .map(|(queue, weight)| Lane {
                queue,
                weight: i64::from(*weight),
                credit: 0,
                consumer: None,
                head: None,
                failures: 0,
                retry_at: None,
            })
            .collect();
        Intake { bus, prefetch, lanes }
    }

    /// Waits for work and takes what is there, at most `most` deliveries. Nothing is lost when the future is dropped.
    pub(super) async fn next_batch(&mut self, most: usize) -> Vec<Delivery> {
        loop {
            for lane in &mut self.lanes {
                lane.connect(&*self.bus, self.prefetch).await;
            }
            let batch = self.take(most);
            if !batch.is_empty() {
                return batch;
            }
            select_all(self.lanes.iter_mut().map(|lane| lane.fill().boxed())).await;
        }
    }

    fn take(&mut self, most: usize) -> Vec<Delivery> {
        let mut batch = Vec::new();
        while batch.len() < most {
            for lane in &mut self.lanes {
                // Takes what is there without waiting.
                let _ = lane.poll_head();
            }
            let ready: i64 = self.lanes.iter().filter(|lane| lane.head.is_some()).map(|lane| lane.weight).sum();
            let mut best: Option<&mut Lane> = None;
            for lane in self.lanes.iter_mut().filter(|lane| lane.head.is_some()) {
                lane.credit += lane.weight;
                if best.as_ref().is_none_or(|best| lane.credit > best.credit) {
                    best = Some(lane);
                }
            }
            let Some(lane) = best else { break };
            lane.credit -= ready;
            batch.extend(lane.head.take());
        }
        batch
    }
}

impl Lane {
    /// Begins to consume, unless it does already or has just failed to.
    async fn connect(&mut self, bus: &dyn Bus, prefetch: u16) {
        if self.consumer.is_some() || self.retry_at.is_some_and(|at| at > Instant::now()) {
            return;
        }
        match bus.consume(self.queue, prefetch).await {
            Ok(consumer) => {
                self.consumer = Some(consumer);
                self.failures = 0;
                self.retry_at = None;
            }
            Err(error) => {
                if self.failures == 0 {
                    tracing::warn!(queue = self.queue, error = %error, "cannot consume {}, trying on", self.queue);
                }
                self.lost();
            }
        }
    }

    /// Waits until there is a head, or until it is time to consume again.
    async fn fill(&mut self) {
        if self.head.is_some() {
            return;
        }
        match &mut self.consumer {
            Some(consumer) => match consumer.recv().await {
                Some(delivery) => self.head = Some(delivery),
                None => self.lost(),
            },
            None => match self.retry_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            },
        }
    }

    fn poll_head(&mut self) -> Option<()> {
        if self.consumer.is_some() { self.fill().now_or_never() } else { None }
    }

    fn lost(&mut self) {
        self.consumer = None;
        let backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
        self.retry_at = Some(Instant::now() + backoff.delay(self.failures));
        self.failures = self.failures.saturating_add(1);
    }
}
