use std::sync::Arc;

use tokio::sync::watch;

/// Whether something far away is heard at the moment. Clones share.
#[derive(Clone, Debug, Default)]
pub struct Connected(Arc<watch::Sender<bool>>);

impl Connected {
    /// Waits until it is.
    pub async fn wait(&self) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.0.subscribe().wait_for(|connected| *connected).await;
    }

    /// Says whether it is.
    pub fn set(&self, connected: bool) {
        self.0.send_if_modified(|before| std::mem::replace(before, connected) != connected);
    }

    /// Follows it.
    pub fn subscribe(&self) -> watch::Receiver<bool> {
        self.0.subscribe()
    }
}
