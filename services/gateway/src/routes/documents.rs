//! Keeps one OpenAPI document of everything that can be reached, made of those of the services behind the routes.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{
    app::{
        instance::Upstream,
        openapi::{Part, merge},
        route::{Methods, RouteSpec},
    },
    gateway::Gateway,
    http::own_openapi,
    upstream::get,
};

/// Changes of routes come in bursts: services start together.
const SETTLE: Duration = Duration::from_millis(250);
/// When a service that gave no document is asked again.
const AGAIN: Duration = Duration::from_secs(15);
/// How long a service may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// The largest document that is taken.
const MOST_BYTES: usize = 8 << 20;

/// A service, by group and name.
type Key = (String, String);

struct Source {
    upstream: Arc<Upstream>,
    routes: Vec<(RouteSpec, Methods)>,
}

/// Makes the document anew whenever the routes change, until `stop` is cancelled.
pub async fn gather(gateway: Arc<Gateway>, version: &'static str, stop: CancellationToken) {
    let mut changes = gateway.changes();
    let mut known: BTreeMap<Key, (u64, Value)> = BTreeMap::new();
    loop {
        changes.mark_unchanged();
        let sources = sources(&gateway);
        known.retain(|key, _| sources.contains_key(key));
        let mut missing = false;
        for (key, source) in &sources {
            // A service that has come anew may be another version with another document.
            if known.get(key).is_some_and(|(upstream, _)| *upstream == source.upstream.key) {
                continue;
            }
            let fetched = get(&source.upstream, "/openapi.json", PATIENCE, MOST_BYTES);
            let Some(fetched) = stop.run_until_cancelled(fetched).await else { return };
            match fetched.map(|bytes| serde_json::from_slice::<Value>(&bytes)) {
                Ok(Ok(document)) => {
                    known.insert(key.clone(), (source.upstream.key, document));
                }
                Ok(Err(_)) | Err(_) => {
                    tracing::debug!(service = key.1, "gave no OpenAPI document");
                    missing = true;
                }
            }
        }
        gateway.set_document(document(version, &known, sources));
        let again = async {
            match missing {
                true => tokio::time::sleep(AGAIN).await,
                false => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = again => {}
            changed = changes.changed() => {
                if changed.is_err() || stop.run_until_cancelled(tokio::time::sleep(SETTLE)).await.is_none() {
                    return;
                }
            }
        }
    }
}

fn sources(gateway: &Gateway) -> BTreeMap<Key, Source> {
    let mut sources: BTreeMap<Key, Source> = BTreeMap::new();
    for route in &gateway.table().routes {
        let Some(upstream) = route.upstreams.first() else { continue };
        let key = (route.owner.group.clone(), route.owner.service.clone());
        let source =
            sources.entry(key).or_insert_with(|| Source { upstream: Arc::clone(upstream), routes: Vec::new() });
        source.routes.push((route.spec.clone(), route.methods));
    }
    sources
}

fn document(version: &str, known: &BTreeMap<Key, (u64, Value)>, sources: BTreeMap<Key, Source>) -> Bytes {
    let parts = sources.into_iter().filter_map(|(key, source)| {
        let (_, document) = known.get(&key)?;
        Some(Part { service: key.1, document: document.clone(), routes: source.routes })
    });
    merge(own_openapi(version), parts.collect()).to_string().into()
}
