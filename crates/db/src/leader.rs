use std::time::Duration;

use sqlx::Error;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    Db,
    session::{Session, SessionOptions},
};

/// How often a leader looks whether it still leads, and the others whether the place is free.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long work may take to end after leadership was lost; then it is dropped where it stands.
const WIND_DOWN: Duration = Duration::from_secs(5);

impl Db {
    /// Runs `work` whenever this process leads for `name`, until `stop`. The token that `work` gets is cancelled when
    /// leadership is lost or at `stop`; it should end then, and after a loss it is dropped when it takes more than 5 s.
    /// When it ends by itself leadership is given up and asked for again after a second.
    ///
    /// At most one process leads for a name of a database and schema. PostgreSQL and MySQL: a session's lock on a
    /// connection of its own, which is looked at every second. So after a connection broke the old leader may still work
    /// while a new one has begun, for a second as a rule and for a few where `work` is slow to end, and what `work` does
    /// must bear that. SQLite: one process has the file, so it leads always.
    pub async fn lead<F, Fut>(&self, name: &str, stop: CancellationToken, work: F)
    where
        F: Fn(CancellationToken) -> Fut + Send + Sync,
        Fut: Future<Output = ()> + Send,
    {
        let name = format!("sker/lead/{}/{name}", self.inner.schema.as_deref().unwrap_or_default());
        let mut away = false;
        while !stop.is_cancelled() {
            match self.inner.pools.session() {
                None => work(stop.child_token()).await,
                Some(options) => match stop.run_until_cancelled(take_seat(options, &name)).await {
                    None => return,
                    Some(Ok(session)) => {
                        away = false;
                        lead_once(session, &name, &stop, &work).await;
                    }
                    Some(Err(error)) if away => tracing::debug!(lead.name = name, %error, "still cannot ask"),
                    Some(Err(error)) => {
                        away = true;
                        tracing::warn!(lead.name = name, %error, "cannot ask for leadership; it is tried again");
                    }
                },
            }
            stop.run_until_cancelled(sleep(INTERVAL)).await;
        }
    }
}

/// Works until this process does not lead any more.
async fn lead_once<F, Fut>(mut session: Session, name: &str, stop: &CancellationToken, work: &F)
where
    F: Fn(CancellationToken) -> Fut + Send + Sync,
    Fut: Future<Output = ()> + Send,
{
    tracing::info!(lead.name = name, "this process leads");
    let token = stop.child_token();
    let mut working = std::pin::pin!(work(token.clone()));
    let lost = tokio::select! {
        () = &mut working => None,
        error = watch(&mut session) => Some(error),
    };
    if let Some(error) = lost {
        tracing::warn!(lead.name = name, error = %error, "leadership is lost");
        token.cancel();
        if timeout(WIND_DOWN, working).await.is_err() {
            tracing::error!(lead.name = name, "work went on without leadership and was dropped");
        }
    }
    session.close().await;
}

/// Opens a session and tries until it has the lock.
async fn take_seat(options: &SessionOptions, name: &str) -> Result<Session, Error> {
    let mut session = options.open().await?;
    while !session.try_lock(name).await? {
        sleep(INTERVAL).await;
    }
    Ok(session)
}

/// Returns when the session is broken.
async fn watch(session: &mut Session) -> Error {
    loop {
        sleep(INTERVAL).await;
        if let Err(error) = session.check().await {
            return error;
        }
    }
}
