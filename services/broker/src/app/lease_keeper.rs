use std::{sync::Arc, time::Duration};

use sker_api::Ctx;
use sker_proto::store::{Lease, RenewLeasesRequest};
use sker_types::{Uuid, parse_id};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{running::StopReason, worker::Broker};

/// Leases per call.
const BATCH: usize = 500;
/// After a failed renewal the next try comes sooner than the interval, but not at once.
const RETRY: Duration = Duration::from_secs(1);
/// How long a renewal may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// So many leases without an answer, and a run is given up. More than one: a store that is away lets no lease run out, and
/// its restart would cost all work under way. A broker that alone is cut off works for nothing meanwhile, no worse: its epoch
/// is refused.
const CUT_OFF_LEASES: u32 = 4;

/// Renews the leases of all running tasks every third of a lease, and stops the tasks whose leases are lost. Also asks when
/// nothing is running: that is how a broker without work knows whether the store is there.
pub async fn keep_leases(broker: Arc<Broker>, stop: CancellationToken) {
    let interval = broker.options().lease / 3;
    let mut failed = false;
    // At once at first: so far nobody knows whether the store is there.
    let mut pause = Duration::ZERO;
    loop {
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
                stop_cut_off(&broker);
            }
        }
        pause = if failed { interval.min(RETRY) } else { interval };
    }
}

/// Stops what an engine works on though another broker must be thought to have it. A result that is there is kept: to offer it
/// costs nothing.
fn stop_cut_off(broker: &Broker) {
    let limit = broker.options().lease * CUT_OFF_LEASES;
    for running in broker.running().all() {
        if !running.has_worked() && running.unrenewed() > limit {
            tracing::warn!(task.id = %running.id, "the store was not reached for too long; giving the task up");
            running.stop(StopReason::CutOff);
        }
    }
}

async fn renew(broker: &Broker) -> sker_error::Result<()> {
    let all = broker.running().all();
    let mut leases: Vec<Lease> = all.iter().map(|running| running.lease()).collect();
    if leases.is_empty() {
        // One that nobody holds: of none the store would know without asking its database.
        leases.push(Lease { task_id: Uuid::nil().to_string(), lease_epoch: 0 });
    }
    let asked = Instant::now();
    for batch in leases.chunks(BATCH) {
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
    all.iter().for_each(|running| running.set_renewed(asked));
    Ok(())
}
