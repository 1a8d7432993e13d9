use std::{sync::Arc, time::Duration};

use sker_api::Ctx;
use sker_proto::store::{Lease, RenewLeasesRequest};
use sker_types::parse_id;
use tokio_util::sync::CancellationToken;

use super::{running::StopReason, worker::Broker};

/// Leases per call.
const BATCH: usize = 500;
/// After a failed renewal the next try comes sooner than the interval, but not at once.
const RETRY: Duration = Duration::from_secs(1);
/// How long a renewal may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// Renews the leases of all running tasks every third of a lease, and stops the tasks whose leases are lost. Also asks when
/// nothing is running: that is how a broker without work knows whether the store is there.
pub async fn keep_leases(broker: Arc<Broker>, stop: CancellationToken) {
    let interval = broker.options().lease / 3;
    let mut failed = false;
    loop {
        let pause = if failed { interval.min(RETRY) } else { interval };
        tokio::select! {
            () = stop.cancelled() => return,
            () = broker.running().doubt.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
        let renewed = renew(&broker).await;
        broker.note_store(renewed.is_ok());
        match renewed {
            Ok(()) => failed = false,
            Err(error) => {
                if !failed {
                    tracing::warn!(error = %error, "leases cannot be renewed, trying on");
                }
                failed = true;
            }
        }
    }
}

async fn renew(broker: &Broker) -> sker_error::Result<()> {
    let leases: Vec<Lease> = broker.running().all().iter().map(|running| running.lease()).collect();
    let none: &[Lease] = &[];
    for batch in leases.chunks(BATCH).chain(leases.is_empty().then_some(none)) {
        let ctx = Ctx::service("broker").within(DEADLINE);
        let request = RenewLeasesRequest { session_id: broker.session_id(), leases: batch.to_vec() };
        let answer = ctx.bound(broker.store().renew_leases(&ctx, request)).await?;
        for lost in answer.lost {
            let held = batch.iter().find(|lease| lease.task_id == lost.task_id);
            let running = parse_id(&lost.task_id).and_then(|id| broker.running().get(id));
            // A claim that is newer than the question is not meant.
            if let (Some(running), Some(lease)) = (running, held)
                && running.epoch == lease.lease_epoch
            {
                tracing::info!(task.id = lost.task_id, reason = lost.reason, "the lease of a running task is lost");
                running.stop(StopReason::of_lost_lease(&lost.reason));
            }
        }
    }
    Ok(())
}
