//! From one process to another on the same PostgreSQL database. A wake that is lost costs a tick of the relay.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DbBackend, Statement};
use sker_db::{Db, db_error};
use sqlx::postgres::PgListener;
use tokio_util::sync::CancellationToken;

use crate::Outbox;

/// NOTIFY's channel, in the database that the table is in.
const CHANNEL: &str = "sker_outbox";

/// Between attempts to listen.
const PAUSE: Duration = Duration::from_secs(1);

impl Outbox {
    /// Tells whoever relays elsewhere what was committed here, until told to stop. Wakes that come while the last one is on
    /// its way go as one. PostgreSQL only.
    pub async fn forward(&self, db: &Db, stop: CancellationToken) {
        while stop.run_until_cancelled(self.awoken_elsewhere()).await.is_some() {
            let notify =
                Statement::from_sql_and_values(DbBackend::Postgres, "SELECT pg_notify($1, '')", [CHANNEL.into()]);
            if let Err(error) = db.write().query_one_raw(notify).await {
                tracing::debug!(error = ?db_error(error), "the relay was not woken");
            }
        }
    }

    /// Wakes the relay of this process when another one has committed something, until told to stop. `url` is the
    /// database's. PostgreSQL only.
    pub async fn listen(&self, url: &str, stop: CancellationToken) {
        loop {
            if let Some(Err(error)) = stop.run_until_cancelled(self.listen_once(url)).await {
                tracing::debug!(error = %error, "cannot listen for what others commit; the relay looks by itself");
            }
            if stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_none() {
                return;
            }
        }
    }

    /// Listens until the connection is lost.
    async fn listen_once(&self, url: &str) -> sqlx::Result<()> {
        let mut listener = PgListener::connect(url).await?;
        listener.listen(CHANNEL).await?;
        while listener.try_recv().await?.is_some() {
            self.shared.here.notify_one();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use sker_db::DbConfig;
    use sker_testkit::{PATIENCE, postgres_database};

    use super::*;

    #[tokio::test]
    async fn what_another_process_commits_wakes_the_relay() {
        let database = postgres_database("outbox", async |_: &str| Ok(())).await.expect("a database");
        let db = Db::connect(&DbConfig::new(database.url())).await.expect("connected");
        let (here, there, stop) = (Outbox::new(), Outbox::new(), CancellationToken::new());
        let loops = async { tokio::join!(here.listen(database.url(), stop.clone()), there.forward(&db, stop.clone())) };
        let woken = async {
            // One that comes before anybody listens is lost.
            while tokio::time::timeout(Duration::from_millis(50), here.awoken()).await.is_err() {
                there.wake();
            }
            stop.cancel();
        };
        tokio::time::timeout(PATIENCE, async { tokio::join!(loops, woken) }).await.expect("woken, and both end");
    }
}
