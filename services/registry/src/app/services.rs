use std::sync::Arc;

use serde_json::{Map, Value};
use sker_error::{Error, Fields, Result};
use sker_types::Time;

use super::{
    access::Scope,
    directory::{Directory, not_stored},
    engine::Snapshot,
    input::{self, Understood},
    model::{DEFAULT_GROUP, GroupEntry, ServiceEntry, ServiceKey},
    page::{Page, Paging},
};

/// What a body says about a service; `None` is not said.
#[derive(Debug, Default)]
struct Said {
    description: Option<String>,
    protocol_type: Option<String>,
    context_path: Option<String>,
    load_balance_strategy: Option<String>,
    health_check_url: Option<String>,
    health_check_interval_seconds: Option<u32>,
    protection_threshold: Option<f64>,
    metadata: Option<Map<String, Value>>,
    tags: Option<Vec<String>>,
    active: Option<bool>,
}

impl Directory {
    /// Services that have an entry or instances, by group and name; with `group` only of that one.
    pub fn services(&self, scope: &Scope, group: &str, paging: &Paging) -> Result<Page<Arc<Snapshot>>> {
        if !group.is_empty() {
            self.readable_group(scope, group)?;
        }
        let all = self.engine.services(scope.tenant()).into_iter().filter(|snapshot| {
            let entry = self.engine.group(&snapshot.key.group_key());
            (group.is_empty() || *snapshot.key.group == *group) && scope.may_read(&snapshot.key.group, entry.as_deref())
        });
        paging.cut(all, |snapshot| format!("{}\u{1f}{}", snapshot.key.group, snapshot.key.service))
    }

    /// A service.
    pub fn service(&self, scope: &Scope, group: &str, service: &str) -> Result<Arc<Snapshot>> {
        let group = if group.is_empty() { DEFAULT_GROUP } else { group };
        self.readable_group(scope, group)?;
        let snapshot = self.engine.snapshot(&ServiceKey::new(scope.tenant(), group, service));
        if snapshot.is_visible() { Ok(snapshot) } else { Err(Error::not_found("service")) }
    }

    /// Makes a service entry; of a service that has only instances so far, too.
    pub async fn create_service(&self, scope: &Scope, body: Value) -> Result<Understood<Arc<Snapshot>>> {
        let mut fields = Fields::new(body)?;
        let service = input::name(&mut fields, "serviceName", input::MAX_SERVICE);
        let service = fields.require("serviceName", service);
        let group = input::name(&mut fields, "groupName", input::MAX_GROUP).value();
        let said = Said::read(&mut fields);
        let ignored = fields.finish_open()?;
        let Some(service) = service else { return Err(Error::invalid_request("serviceName is missing")) };
        let key = ServiceKey::new(scope.tenant(), group.as_deref().unwrap_or(DEFAULT_GROUP), &service);
        let group = self.writable(scope, &key)?;
        let now = self.engine.now();
        let made =
            self.engine.describe_service(&key, &scope.cause("the service was created"), |current| {
                match &current.entry {
                    Some(_) => Err(Error::conflict(format!("the service {service} exists already"))),
                    None => Ok(Some(said.over(blank(current, group.as_deref(), now), now))),
                }
            })?;
        if !self.settled(made.revision).await {
            // Only an entry that is still the one made here; a failure to take it back changes nothing for the caller.
            let _ = self.engine.describe_service(&key, &scope.cause("could not be stored"), |current| {
                if current.revision == made.revision { Ok(None) } else { Err(Error::conflict("changed since")) }
            });
            return Err(not_stored());
        }
        Ok(Understood { value: made, ignored })
    }

    /// Changes what the body names; makes the entry of a service that has only instances.
    pub async fn update_service(
        &self,
        scope: &Scope,
        group: &str,
        service: &str,
        body: Value,
    ) -> Result<Understood<Arc<Snapshot>>> {
        let mut fields = Fields::new(body)?;
        let group_named = input::name(&mut fields, "groupName", input::MAX_GROUP).value();
        let group = match (&group_named, group) {
            (Some(named), "") => named.as_str(),
            (None, "") => DEFAULT_GROUP,
            (_, given) => given,
        };
        same(&mut fields, "groupName", group_named.clone(), group);
        let named = input::name(&mut fields, "serviceName", input::MAX_SERVICE).value();
        same(&mut fields, "serviceName", named, service);
        let said = Said::read(&mut fields);
        let ignored = fields.finish_open()?;
        let key = ServiceKey::new(scope.tenant(), group, service);
        let group = self.writable(scope, &key)?;
        let now = self.engine.now();
        let changed = self.engine.describe_service(&key, &scope.cause("the service was changed"), |current| {
            if !current.is_visible() {
                return Err(Error::not_found("service"));
            }
            let entry = current.entry.as_deref().cloned();
            Ok(Some(said.over(entry.unwrap_or_else(|| blank(current, group.as_deref(), now)), now)))
        })?;
        self.stored(changed.revision).await?;
        Ok(Understood { value: changed, ignored })
    }

    /// Deletes a service that has no instances.
    pub async fn delete_service(&self, scope: &Scope, group: &str, service: &str) -> Result<()> {
        let group = if group.is_empty() { DEFAULT_GROUP } else { group };
        let key = ServiceKey::new(scope.tenant(), group, service);
        self.writable(scope, &key)?;
        let gone = self.engine.describe_service(&key, &scope.cause("the service was deleted"), |current| {
            if current.instances.is_empty() {
                return Ok(None);
            }
            Err(Error::conflict(format!("the service has {} live instances", current.instances.len())))
        })?;
        self.stored(gone.revision).await
    }

    /// Checks that the caller may write there and that what is written can be stored.
    fn writable(&self, scope: &Scope, key: &ServiceKey) -> Result<Option<Arc<GroupEntry>>> {
        let group = self.engine.group(&key.group_key());
        scope.require_write(&key.group, group.as_deref())?;
        self.require_storage()?;
        Ok(group)
    }

    pub(super) async fn stored(&self, revision: u64) -> Result<()> {
        if self.settled(revision).await {
            return Ok(());
        }
        Err(Error::unavailable("the database is away; the change is made and will be stored when it is back"))
    }
}

/// An entry that says nothing but what its group says for it.
fn blank(current: &Snapshot, group: Option<&GroupEntry>, now: Time) -> ServiceEntry {
    ServiceEntry {
        key: current.key.clone(),
        description: String::new(),
        protocol_type: group.map_or_else(|| "HTTP".to_owned(), |group| group.default_protocol_type.clone()),
        context_path: String::new(),
        load_balance_strategy: group
            .map_or_else(|| "ROUND_ROBIN".to_owned(), |group| group.default_load_balance_strategy.clone()),
        health_check_url: group.map_or_else(String::new, |group| group.default_health_check_url.clone()),
        health_check_interval_seconds: group.map_or(30, |group| group.default_health_check_interval_seconds),
        protection_threshold: 0.0,
        metadata: Map::new(),
        tags: Vec::new(),
        active: true,
        created_at: now,
        updated_at: now,
    }
}

/// A field of the body that repeats a name of the path may not contradict it.
pub(super) fn same(fields: &mut Fields, field: &str, named: Option<String>, path: &str) {
    if named.is_some_and(|named| named != path) {
        fields.fault(field, "immutable", format!("must be {path}, as in the path"));
    }
}

pub(super) fn seconds(fields: &mut Fields, field: &str) -> Option<u32> {
    fields.integer(field, 1..=86_400).value().and_then(|seconds| u32::try_from(seconds).ok())
}

impl Said {
    fn read(fields: &mut Fields) -> Said {
        Said {
            description: fields.string("serviceDescription", 0..=2_000).value(),
            protocol_type: fields.string("protocolType", 1..=50).value(),
            context_path: fields.string("contextPath", 0..=200).value(),
            load_balance_strategy: fields.string("loadBalanceStrategy", 1..=50).value(),
            health_check_url: fields.string("healthCheckUrl", 0..=500).value(),
            health_check_interval_seconds: seconds(fields, "healthCheckIntervalSeconds"),
            protection_threshold: fields.number("protectionThreshold", 0.0..=1.0).value(),
            metadata: input::metadata(fields),
            tags: input::tags(fields),
            active: input::flag(fields, "activeFlag"),
        }
    }

    fn over(self, entry: ServiceEntry, now: Time) -> ServiceEntry {
        ServiceEntry {
            key: entry.key,
            description: self.description.unwrap_or(entry.description),
            protocol_type: self.protocol_type.unwrap_or(entry.protocol_type),
            context_path: self.context_path.unwrap_or(entry.context_path),
            load_balance_strategy: self.load_balance_strategy.unwrap_or(entry.load_balance_strategy),
            health_check_url: self.health_check_url.unwrap_or(entry.health_check_url),
            health_check_interval_seconds: self
                .health_check_interval_seconds
                .unwrap_or(entry.health_check_interval_seconds),
            protection_threshold: self.protection_threshold.unwrap_or(entry.protection_threshold),
            metadata: self.metadata.unwrap_or(entry.metadata),
            tags: self.tags.unwrap_or(entry.tags),
            active: self.active.unwrap_or(entry.active),
            created_at: entry.created_at,
            updated_at: now,
        }
    }
}
