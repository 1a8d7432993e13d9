use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use serde_json::json;
use sker_testkit::{Api, eventually};
use tokio::{sync::watch, task::JoinHandle};

use super::canvas::{Accepted, Canvas, submit};

/// Clients that submit one task after another until they are told to stop. What is refused they do not repeat.
pub struct Load {
    count: Arc<Mutex<Count>>,
    stop: watch::Sender<bool>,
    clients: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Count {
    accepted: Vec<Accepted>,
    refused: Vec<String>,
}

impl Load {
    /// Clients at the first gateway; each leaves a pause between its tasks.
    pub fn start(canvas: &Canvas, clients: usize, pause: Duration) -> Self {
        let count = Arc::<Mutex<Count>>::default();
        let (stop, _) = watch::channel(false);
        let client = |_| {
            tokio::spawn(client(canvas.user.clone(), canvas.project.clone(), pause, count.clone(), stop.subscribe()))
        };
        let clients = (0..clients).map(client).collect();
        Load { count, stop, clients }
    }

    /// How many were accepted so far.
    pub fn accepted(&self) -> Result<usize> {
        Ok(self.count.lock().map_err(|_| anyhow!("a client panicked"))?.accepted.len())
    }

    /// Why what was refused so far was.
    pub fn refused(&self) -> Result<Vec<String>> {
        Ok(self.count.lock().map_err(|_| anyhow!("a client panicked"))?.refused.clone())
    }

    /// Waits until this many more were accepted.
    pub async fn more(&self, number: usize) -> Result<()> {
        let enough = self.accepted()? + number;
        eventually("tasks are accepted", async || Ok((self.accepted()? >= enough).then_some(()))).await
    }

    /// Waits until something was refused.
    pub async fn some_refused(&self) -> Result<()> {
        eventually("tasks are refused", async || Ok((!self.refused()?.is_empty()).then_some(()))).await
    }

    /// Stops the clients; answers what was accepted, and why the rest was refused.
    pub async fn stop(self) -> Result<(Vec<Accepted>, Vec<String>)> {
        self.stop.send_replace(true);
        for client in self.clients {
            client.await?;
        }
        let count = Arc::into_inner(self.count).context("the clients have ended")?;
        let Count { accepted, refused } = count.into_inner().map_err(|_| anyhow!("a client panicked"))?;
        Ok((accepted, refused))
    }
}

async fn client(
    user: Api,
    project: String,
    pause: Duration,
    count: Arc<Mutex<Count>>,
    mut stop: watch::Receiver<bool>,
) {
    let body = json!({"type": "semantic_analysis"});
    loop {
        let submitted = submit(&user, &project, &body).await;
        {
            let mut count = count.lock().expect("nobody panics with it");
            match submitted {
                Ok(accepted) => count.accepted.push(accepted),
                Err(error) => count.refused.push(format!("{error:#}")),
            }
        }
        let stopped = stop.wait_for(|stopped| *stopped);
        if tokio::time::timeout(pause, stopped).await.is_ok() {
            return;
        }
    }
}
