use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::Stream;
use sker_error::Result;
use sker_traffic::Backoff;

use super::{
    access::Scope,
    directory::Directory,
    engine::Snapshot,
    filter::Filter,
    model::{DEFAULT_GROUP, ServiceKey},
    view,
    watch::{self, Followed, Interest},
};

/// The longest that a blocking read waits.
pub const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// A blocking read: wait until the revision is another than this one.
#[derive(Clone, Debug)]
pub struct Wait {
    /// The revision that the caller has.
    pub index: String,
    /// How long to wait at most.
    pub limit: Duration,
}

/// What was found of a service.
#[derive(Clone, Debug)]
pub struct Discovered {
    /// The service at one revision.
    pub snapshot: Arc<Snapshot>,
    /// What is wanted of it.
    pub filter: Filter,
}

impl Discovered {
    /// The answer as JSON.
    pub fn body(&self) -> Bytes {
        view::discovery(&self.snapshot, &self.filter)
    }
}

impl Directory {
    /// Instances of a service. A service of which nothing is known has none.
    pub async fn discover(
        &self,
        scope: &Scope,
        group: &str,
        service: &str,
        filter: Filter,
        wait: Option<Wait>,
    ) -> Result<Discovered> {
        let group = if group.is_empty() { DEFAULT_GROUP } else { group };
        self.readable_group(scope, group)?;
        let key = ServiceKey::new(scope.tenant(), group, service);
        if let Some(Wait { index, limit }) = wait
            && let Ok(known) = index.parse()
        {
            // Readers that began together must not all come back together (consul-template#1013).
            let limit = limit.min(LONGEST_WAIT);
            let jittered = Backoff { jitter: 1.0 / 16.0, ..Backoff::new(limit, limit) }.delay(0);
            self.engine.wait(&key, known, jittered).await;
        }
        Ok(Discovered { snapshot: self.engine.snapshot(&key), filter })
    }

    /// Changes of instances from a token on.
    pub fn watch(
        &self,
        scope: Scope,
        interest: Interest,
        token: &str,
    ) -> Result<impl Stream<Item = Result<Followed>> + Send + 'static + use<>> {
        for group in &interest.groups {
            self.readable_group(&scope, group)?;
        }
        Ok(watch::follow(self.engine.clone(), scope, interest, token))
    }
}
