use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Result, anyhow};
use serde_json::Value;
use sker_testkit::{Api, Socket, eventually};
use tokio::{sync::watch, task::JoinHandle};

/// Between attempts to connect.
const PAUSE: Duration = Duration::from_millis(50);

/// A client that follows a channel over whichever gateway answers, and resumes after the last event that it has seen.
pub struct Follower {
    frames: Arc<Mutex<Vec<Value>>>,
    following: JoinHandle<()>,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.following.abort();
    }
}

impl Follower {
    /// Follows at the first gateway as long as that is there, then at the next. Waits until it is subscribed.
    pub async fn start(gateways: Vec<Api>, channel: String) -> Result<Self> {
        let frames = Arc::<Mutex<Vec<Value>>>::default();
        let (subscribed, mut is_subscribed) = watch::channel(false);
        let following = tokio::spawn(follow(gateways, channel, frames.clone(), subscribed));
        is_subscribed.wait_for(|subscribed| *subscribed).await?;
        Ok(Follower { frames, following })
    }

    /// What has come so far.
    pub fn frames(&self) -> Result<Vec<Value>> {
        Ok(self.frames.lock().map_err(|_| anyhow!("the follower panicked"))?.clone())
    }

    /// Waits until a frame has come.
    pub async fn until(&self, what: &str, is_it: impl Fn(&Value) -> bool) -> Result<()> {
        eventually(what, async || Ok(self.frames()?.iter().any(&is_it).then_some(()))).await
    }
}

async fn follow(gateways: Vec<Api>, channel: String, frames: Arc<Mutex<Vec<Value>>>, subscribed: watch::Sender<bool>) {
    let keep = |heard: Vec<Value>| frames.lock().expect("nobody panics with it").extend(heard);
    for gateway in gateways.iter().cycle() {
        let last = || {
            frames.lock().expect("nobody panics with it").iter().filter_map(|frame| frame["seq"].as_u64()).next_back()
        };
        let begin = async {
            let mut socket = Socket::connect(gateway).await?;
            let before = socket.subscribe(&channel, last()).await?;
            Ok::<_, anyhow::Error>((socket, before))
        };
        let Ok((mut socket, before)) = begin.await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        keep(before);
        subscribed.send_replace(true);
        while let Ok(frame) = socket.next().await {
            keep(vec![frame]);
        }
    }
}
