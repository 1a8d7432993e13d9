//! Connections that speak another protocol after an upgrade: bytes go both ways until one side ends.

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The tunnels of one thread.
#[derive(Clone, Debug)]
pub struct Tunnels {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tunnels {
    /// Tunnels that end when `stop` is cancelled and are waited for by `tracker`.
    pub fn new(tracker: TaskTracker, stop: CancellationToken) -> Self {
        Tunnels { tracker, stop }
    }

    pub(super) fn join(&self, client: OnUpgrade, upstream: OnUpgrade) {
        let stop = self.stop.clone();
        self.tracker.spawn_local(async move {
            let copy = async {
                let (client, upstream) = tokio::try_join!(client, upstream)?;
                let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
                // An error is one side hanging up, which is how most tunnels end.
                let _ = tokio::io::copy_bidirectional(&mut client, &mut upstream).await;
                Ok::<_, hyper::Error>(())
            };
            let _ = stop.run_until_cancelled(copy).await;
        });
    }
}
