//! What the registry has told so far, and the table that follows from it.
//!
//! Routes come from services of the platform (registered with a service token in their reserved group), from groups that the
//! gateway's own file allows, and from that file itself. Of two claims the first stays: the file, then whoever registered
//! earlier. What the registry forgets by accident is kept for a while: a registry that has lost its memory takes no route
//! away, and a route whose last instance is gone answers 503 and does not fall through to another service.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use sker_api::PLATFORM_GROUP;
use sker_proto::registry::{Instance, WatchResponse, watch_response::Event};

use super::{
    instance::Upstream,
    route::{Methods, RouteSpec},
    table::{Conflict, Owner, Route, RouteTable, is_own, is_reserved},
};

/// What decides about claims.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Groups besides the platform's whose instances may declare routes, though not on reserved paths.
    pub groups: Vec<String>,
    /// How long an instance is kept that a new snapshot of the registry does not have.
    pub missing_grace: Duration,
    /// How long routes are remembered whose last instance is gone.
    pub retain: Duration,
    /// Routes of the gateway's own file.
    pub fixed: Vec<FixedRoute>,
}

/// A route of the gateway's own file.
#[derive(Clone, Debug)]
pub struct FixedRoute {
    /// The route.
    pub spec: RouteSpec,
    /// Where it leads.
    pub upstreams: Vec<Arc<Upstream>>,
}

#[derive(Debug)]
struct Known {
    instance: Instance,
    upstream: Option<Arc<Upstream>>,
    specs: Vec<RouteSpec>,
    faults: Vec<String>,
    missing_since: Option<Instant>,
    gone_since: Option<Instant>,
}

impl Known {
    fn owner(&self) -> Owner {
        Owner { group: self.instance.group_name.clone(), service: self.instance.service_name.clone() }
    }

    fn serves(&self) -> bool {
        self.gone_since.is_none()
            && self.instance.instance_status == "UP"
            && self.instance.health_status != "UNHEALTHY"
            && self.upstream.is_some()
    }
}

/// The registry's instances as far as they matter for routes.
#[derive(Debug)]
pub struct Catalogue {
    rules: Rules,
    instances: BTreeMap<String, Known>,
    /// While a snapshot comes in: what it had so far.
    snapshot: Option<HashSet<String>>,
    synced: bool,
}

impl Catalogue {
    /// An empty catalogue.
    pub fn new(rules: Rules) -> Self {
        Catalogue { rules, instances: BTreeMap::new(), snapshot: None, synced: false }
    }

    /// Groups that matter.
    pub fn groups(&self) -> Vec<String> {
        std::iter::once(PLATFORM_GROUP.to_owned()).chain(self.rules.groups.iter().cloned()).collect()
    }

    /// Whether a whole snapshot has been seen.
    pub fn is_synced(&self) -> bool {
        self.synced
    }

    /// Takes in what the registry says. Tells whether the table may have changed.
    pub fn apply(&mut self, response: WatchResponse, now: Instant) -> bool {
        match response.event {
            Some(Event::Reset(_)) => {
                self.snapshot = Some(HashSet::new());
                false
            }
            Some(Event::Upserted(instance)) => {
                if let Some(seen) = &mut self.snapshot {
                    seen.insert(instance.instance_id.clone());
                }
                self.upsert(instance)
            }
            Some(Event::Removed(instance)) => match self.instances.get_mut(&instance.instance_id) {
                Some(known) if known.gone_since.is_none() => {
                    known.gone_since = Some(now);
                    true
                }
                _ => false,
            },
            Some(Event::Synced(_)) => {
                let first = !std::mem::replace(&mut self.synced, true);
                let Some(seen) = self.snapshot.take() else { return first };
                for (id, known) in &mut self.instances {
                    if !seen.contains(id) {
                        known.missing_since.get_or_insert(now);
                    }
                }
                true
            }
            None => false,
        }
    }

    fn upsert(&mut self, instance: Instance) -> bool {
        let id = instance.instance_id.clone();
        if let Some(known) = self.instances.get_mut(&id)
            && same_claims(&known.instance, &instance)
        {
            // A heartbeat: nothing that routes depend on, unless it was given up already.
            known.instance = instance;
            let was_away = known.gone_since.take().is_some();
            known.missing_since = None;
            return was_away;
        }
        let port = u16::try_from(instance.port_number).unwrap_or(0);
        let kept = self.instances.get(&id).and_then(|known| known.upstream.clone());
        let upstream = kept
            .filter(|upstream| upstream.host == instance.host_address && upstream.port == port)
            .or_else(|| Upstream::new(&id, &instance.host_address, port).map(Arc::new));
        let (specs, mut faults) = RouteSpec::from_metadata(&instance.metadata_json);
        if upstream.is_none() && !specs.is_empty() {
            faults.push(format!("its address {}:{} cannot be used", instance.host_address, instance.port_number));
        }
        let known = Known { instance, upstream, specs, faults, missing_since: None, gone_since: None };
        self.instances.insert(id, known);
        true
    }

    /// Forgets what has been away for too long. Tells whether the table may have changed.
    pub fn expire(&mut self, now: Instant) -> bool {
        let grace = self.rules.missing_grace;
        let mut changed = false;
        for known in self.instances.values_mut() {
            let overdue = known.missing_since.is_some_and(|since| now.duration_since(since) >= grace);
            if overdue && known.gone_since.is_none() {
                known.gone_since = Some(now);
                changed = true;
            }
        }
        let before = self.instances.len();
        let retain = self.rules.retain;
        self.instances.retain(|_, known| known.gone_since.is_none_or(|since| now.duration_since(since) < retain));
        changed || self.instances.len() != before
    }

    /// The table that follows.
    pub fn table(&self) -> RouteTable {
        let mut draft = Draft::default();
        let file = Owner::file();
        for fixed in &self.rules.fixed {
            let id = fixed.upstreams.first().map_or("", |upstream| upstream.instance_id.as_str());
            draft.claim(&file, id, &fixed.spec, &fixed.upstreams);
        }
        let mut order: Vec<&Known> = self.instances.values().collect();
        order.sort_by(|a, b| {
            let key = |known: &Known| (known.gone_since.is_some(), known.instance.registered_at_us);
            key(a).cmp(&key(b)).then_with(|| a.instance.instance_id.cmp(&b.instance.instance_id))
        });
        let alive: HashSet<(&str, &str)> = order
            .iter()
            .filter(|known| known.gone_since.is_none())
            .map(|known| (known.instance.group_name.as_str(), known.instance.service_name.as_str()))
            .collect();
        for known in order {
            let Instance { instance_id, group_name, service_name, .. } = &known.instance;
            // What a service no longer declares is dropped when an instance of it lives that does not declare it.
            if known.gone_since.is_some() && alive.contains(&(group_name.as_str(), service_name.as_str())) {
                continue;
            }
            let owner = known.owner();
            for fault in &known.faults {
                draft.refuse(&owner, instance_id, "", Methods::NONE, fault.clone());
            }
            let serving: Vec<Arc<Upstream>> = known.upstream.iter().filter(|_| known.serves()).cloned().collect();
            for spec in &known.specs {
                match self.refusal(&known.instance, spec) {
                    Some(reason) => {
                        draft.refuse(&owner, instance_id, &spec.pattern.to_string(), spec.methods, reason.to_owned());
                    }
                    None => draft.claim(&owner, instance_id, spec, &serving),
                }
            }
        }
        RouteTable::new(draft.routes, draft.conflicts, self.synced)
    }

    fn refusal(&self, instance: &Instance, spec: &RouteSpec) -> Option<&'static str> {
        let platform = instance.group_name == PLATFORM_GROUP;
        let allowed = platform && instance.trusted
            || !platform && self.rules.groups.contains(&instance.group_name) && is_default(&instance.tenant_id);
        if !allowed {
            Some("it was not registered by a service of the platform, nor in a group that may declare routes")
        } else if is_own(&spec.pattern) {
            Some("the gateway answers this path itself")
        } else if is_reserved(&spec.pattern) && !platform {
            Some("only services of the platform may claim this path")
        } else {
            None
        }
    }
}

fn is_default(tenant: &str) -> bool {
    tenant.is_empty() || tenant == "default"
}

/// Whether two states of an instance lead to the same routes.
fn same_claims(a: &Instance, b: &Instance) -> bool {
    a.host_address == b.host_address
        && a.port_number == b.port_number
        && a.instance_status == b.instance_status
        && (a.health_status == "UNHEALTHY") == (b.health_status == "UNHEALTHY")
        && a.metadata_json == b.metadata_json
        && a.trusted == b.trusted
        && a.registered_at_us == b.registered_at_us
        && (a.tenant_id == b.tenant_id && a.group_name == b.group_name && a.service_name == b.service_name)
}

/// A table in the making.
#[derive(Default)]
struct Draft {
    routes: Vec<Route>,
    conflicts: Vec<Conflict>,
}

impl Draft {
    fn claim(&mut self, owner: &Owner, instance_id: &str, spec: &RouteSpec, serving: &[Arc<Upstream>]) {
        if let Some(route) = self.routes.iter_mut().find(|route| route.owner == *owner && route.spec == *spec) {
            route.upstreams.extend(serving.iter().cloned());
            return;
        }
        let mut free = Methods::NONE;
        let mut taken = Methods::NONE;
        let mut holder = None;
        for index in spec.methods.indexes() {
            let held = self.routes.iter().find(|r| r.spec.pattern == spec.pattern && r.methods.contains(index));
            match held {
                Some(route) => {
                    taken.insert(index);
                    holder = Some(route.owner.clone());
                }
                None => free.insert(index),
            }
        }
        if let Some(holder) = holder {
            let reason = match holder == *owner {
                true => "an earlier instance of the same service declares it differently".to_owned(),
                false => format!("service {} of group {} claimed it first", holder.service, holder.group),
            };
            self.refuse(owner, instance_id, &spec.pattern.to_string(), taken, reason);
        }
        if !free.is_empty() {
            let mut route = Route::new(spec.clone(), free, owner.clone());
            route.upstreams.extend(serving.iter().cloned());
            self.routes.push(route);
        }
    }

    fn refuse(&mut self, owner: &Owner, instance_id: &str, path: &str, methods: Methods, reason: String) {
        let (path, instance_id) = (path.to_owned(), instance_id.to_owned());
        self.conflicts.push(Conflict { path, methods, owner: owner.clone(), instance_id, reason });
    }
}

#[cfg(test)]
mod tests;
