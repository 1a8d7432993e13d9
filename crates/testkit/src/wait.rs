use std::time::Duration;

use anyhow::{Context, Result};

/// How long tests wait for what must happen. Generous, because it is only ever used up by a failure.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Asks again and again until there is an answer; an error when there is none within [`PATIENCE`]. An error of `ask` ends
/// the wait at once: answer `Ok(None)` for what may still change.
pub async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let wait = async {
        loop {
            if let Some(answer) = ask().await? {
                return Ok(answer);
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.with_context(|| format!("waited in vain: {what}"))?
}
