use std::sync::Arc;

use serde_json::Value;
use sker_api::Ctx;
use sker_error::{Error, Result};
use sker_types::{Uuid, parse_id};

use super::{
    access::{AccessRules, Scope},
    engine::{Engine, Registration},
    input::{self, LeaseDefaults, Understood},
    model::{GroupEntry, GroupKey, Health, Instance, ServiceKey, Status},
    storage::{Durability, Storage},
};

/// What callers may ask of the registry. Each use case checks the caller, changes the working set and, when asked to,
/// waits until the change is stored.
pub struct Directory {
    pub(super) engine: Arc<Engine>,
    pub(super) storage: Arc<dyn Storage>,
    access: AccessRules,
    defaults: LeaseDefaults,
    durability: Durability,
}

/// An instance after a change.
#[derive(Clone, Debug)]
pub struct Changed {
    /// As it is now.
    pub instance: Arc<Instance>,
    /// Whether the change made it.
    pub created: bool,
    /// Whether the database has it; `true` when nobody waits for that.
    pub persisted: bool,
}

/// What a batch of heartbeats came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// How many leases were renewed.
    pub renewed: usize,
    /// Ids that are not registered; their clients have to register again.
    pub unknown: Vec<String>,
}

impl Directory {
    /// The use cases over an engine and its storage.
    pub fn new(
        engine: Arc<Engine>,
        storage: Arc<dyn Storage>,
        access: AccessRules,
        defaults: LeaseDefaults,
        durability: Durability,
    ) -> Self {
        Directory { engine, storage, access, defaults, durability }
    }

    /// The working set.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Lets a caller in; `local` says that the call comes from this machine.
    pub fn admit(&self, ctx: &Ctx, local: bool) -> Result<Scope> {
        self.access.admit(ctx, local)
    }

    /// Registers an endpoint, or refreshes it.
    pub async fn register(&self, scope: &Scope, body: Value) -> Result<Understood<Changed>> {
        let Understood { value: mut registration, ignored } =
            input::registration(scope.tenant(), body, &self.defaults)?;
        let key = registration.key.clone();
        let group = self.engine.group(&key.group_key());
        scope.require_write(&key.group, group.as_deref())?;
        self.check_active(&key, group.as_deref())?;
        registration.trusted = scope.is_trusted_in(&key.group);
        let ephemeral = registration.spec.ephemeral;
        if !ephemeral && !self.is_known(&registration) {
            self.require_storage()?;
        }
        let registered = self.engine.register(registration, &scope.cause("registration"));
        let revision = registered.instance.revision;
        let persisted = self.settled(revision).await;
        if !persisted && !ephemeral && registered.created {
            // Nobody relies on it yet, so taking it back is honest; the client will try again.
            self.engine.deregister(registered.instance.id, Some(revision), &scope.cause("could not be stored"));
            return Err(not_stored());
        }
        let value = Changed { instance: registered.instance, created: registered.created, persisted };
        Ok(Understood { value, ignored })
    }

    /// An instance.
    pub fn instance(&self, scope: &Scope, id: &str) -> Result<Arc<Instance>> {
        self.find(scope, id, Scope::may_read)
    }

    /// Renews a lease.
    pub fn heartbeat(&self, scope: &Scope, id: &str, body: Option<Value>) -> Result<Understood<Arc<Instance>>> {
        let Understood { value: active_connections, ignored } = input::heartbeat(body)?;
        let instance = self.find(scope, id, Scope::may_write)?;
        if !self.engine.heartbeat(&instance, active_connections) {
            return Err(Error::not_found("instance"));
        }
        // The heartbeat may have made it healthy again.
        let value = self.engine.instance(instance.id).unwrap_or(instance);
        Ok(Understood { value, ignored })
    }

    /// Renews any number of leases.
    pub fn heartbeats(&self, scope: &Scope, ids: Vec<String>) -> Renewed {
        let mut renewed = 0;
        let unknown = ids
            .into_iter()
            .filter(|id| match self.find(scope, id, Scope::may_write) {
                Ok(instance) if self.engine.heartbeat(&instance, None) => {
                    renewed += 1;
                    false
                }
                _ => true,
            })
            .collect();
        Renewed { renewed, unknown }
    }

    /// Takes an instance's word about its health.
    pub async fn set_health(&self, scope: &Scope, id: &str, health: Health) -> Result<Changed> {
        let instance = self.find(scope, id, Scope::may_write)?;
        let changed = self.engine.set_health(instance.id, health, &scope.cause("health was reported"));
        self.settle(changed).await
    }

    /// Overrides an instance's status, or lifts that.
    pub async fn override_status(&self, scope: &Scope, id: &str, status: Option<Status>) -> Result<Changed> {
        let instance = self.find(scope, id, Scope::may_write)?;
        let reason = if status.is_some() { "status was overridden" } else { "the override was lifted" };
        let changed = self.engine.override_status(instance.id, status, &scope.cause(reason));
        self.settle(changed).await
    }

    /// Takes an instance out.
    ///
    /// # Errors
    /// `not_found` when it is not registered.
    pub async fn deregister(&self, scope: &Scope, id: &str) -> Result<()> {
        let instance = self.find(scope, id, Scope::may_write)?;
        let gone = self.engine.deregister(instance.id, None, &scope.cause("deregistration"));
        self.settled(gone.ok_or_else(|| Error::not_found("instance"))?).await;
        Ok(())
    }

    fn find(
        &self,
        scope: &Scope,
        id: &str,
        may: impl FnOnce(&Scope, &str, Option<&GroupEntry>) -> bool,
    ) -> Result<Arc<Instance>> {
        let instance = parse_id(id).and_then(|id: Uuid| self.engine.instance(id));
        instance
            .filter(|instance| {
                let group = self.engine.group(&instance.key.group_key());
                &*instance.key.tenant == scope.tenant() && may(scope, &instance.key.group, group.as_deref())
            })
            .ok_or_else(|| Error::not_found("instance"))
    }

    async fn settle(&self, changed: Option<Arc<Instance>>) -> Result<Changed> {
        let instance = changed.ok_or_else(|| Error::not_found("instance"))?;
        let persisted = self.settled(instance.revision).await;
        Ok(Changed { instance, created: false, persisted })
    }

    /// Waits for the database when that is asked for.
    pub(super) async fn settled(&self, revision: u64) -> bool {
        match self.durability {
            Durability::Memory => true,
            Durability::Committed => self.storage.committed(revision).await,
        }
    }

    /// Refuses at once what may not be in memory only.
    pub(super) fn require_storage(&self) -> Result<()> {
        match self.durability {
            Durability::Committed if !self.storage.is_available() => Err(not_stored()),
            _ => Ok(()),
        }
    }

    /// Whether the endpoint is registered already.
    fn is_known(&self, Registration { key, spec, .. }: &Registration) -> bool {
        let service = self.engine.snapshot(key);
        service.instances.iter().any(|known| known.spec.host == spec.host && known.spec.port == spec.port)
    }

    fn check_active(&self, key: &ServiceKey, group: Option<&GroupEntry>) -> Result<()> {
        if group.is_some_and(|group| !group.active) {
            return Err(Error::conflict(format!("the group {} takes no registrations", key.group)));
        }
        if self.engine.snapshot(key).entry.as_ref().is_some_and(|entry| !entry.active) {
            return Err(Error::conflict(format!("the service {} takes no registrations", key.service)));
        }
        Ok(())
    }

    /// A group's entry, for a caller who may read it.
    pub(super) fn readable_group(&self, scope: &Scope, group: &str) -> Result<Option<Arc<GroupEntry>>> {
        let entry = self.engine.group(&GroupKey::new(scope.tenant(), group));
        scope.require_read(group, entry.as_deref())?;
        Ok(entry)
    }
}

pub(super) fn not_stored() -> Error {
    Error::unavailable("the database is away, and this may not be kept in memory only")
}
