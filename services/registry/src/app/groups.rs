use std::sync::Arc;

use serde_json::Value;
use sker_error::{Error, Fields, Result};
use sker_types::Time;

use super::{
    access::Scope,
    directory::{Directory, not_stored},
    input::{self, Understood},
    model::{GroupEntry, GroupKey},
    page::{Page, Paging},
    services::{same, seconds},
    view::GroupView,
};

/// What a body says about a group; `None` is not said.
#[derive(Debug, Default)]
struct Said {
    description: Option<String>,
    group_type: Option<String>,
    owner_user_id: Option<String>,
    admin_user_ids: Option<Vec<String>>,
    read_user_ids: Option<Vec<String>>,
    access_control: Option<bool>,
    default_protocol_type: Option<String>,
    default_load_balance_strategy: Option<String>,
    default_health_check_url: Option<String>,
    default_health_check_interval_seconds: Option<u32>,
    active: Option<bool>,
}

impl Directory {
    /// Groups that have an entry or services, by name.
    pub fn groups(&self, scope: &Scope, paging: &Paging) -> Result<Page<GroupView>> {
        let all = self
            .engine
            .groups(scope.tenant())
            .into_iter()
            .filter(|(name, entry)| scope.may_read(name, entry.as_deref()))
            .map(|(name, entry)| match entry {
                Some(entry) => GroupView::explicit(&entry),
                None => GroupView::implicit(scope.tenant(), &name),
            });
        paging.cut(all, |group| group.group_name.clone())
    }

    /// A group.
    pub fn group(&self, scope: &Scope, name: &str) -> Result<GroupView> {
        if let Some(entry) = self.readable_group(scope, name)? {
            return Ok(GroupView::explicit(&entry));
        }
        if self.engine.groups(scope.tenant()).contains_key(name) {
            return Ok(GroupView::implicit(scope.tenant(), name));
        }
        Err(Error::not_found("group"))
    }

    /// Makes a group entry; of a group that has only services so far, too.
    pub async fn create_group(&self, scope: &Scope, body: Value) -> Result<Understood<Arc<GroupEntry>>> {
        let mut fields = Fields::new(body)?;
        let name = input::name(&mut fields, "groupName", input::MAX_GROUP);
        let name = fields.require("groupName", name);
        let said = Said::read(&mut fields);
        let ignored = fields.finish_open()?;
        let Some(name) = name else { return Err(Error::invalid_request("groupName is missing")) };
        let key = GroupKey::new(scope.tenant(), &name);
        scope.require_write(&name, self.engine.group(&key).as_deref())?;
        self.require_storage()?;
        let now = self.engine.now();
        let cause = scope.cause("the group was created");
        let made = self.engine.describe_group(&key, &cause, |current| match current {
            Some(_) => Err(Error::conflict(format!("the group {name} exists already"))),
            None => Ok(Some(said.over(blank(&key, &cause.actor, now), now))),
        })?;
        if !self.settled(made.revision).await {
            let _ = self.engine.describe_group(&key, &scope.cause("could not be stored"), |current| match current {
                Some(entry) if entry.revision == made.revision => Ok(None),
                _ => Err(Error::conflict("changed since")),
            });
            return Err(not_stored());
        }
        Ok(Understood { value: made, ignored })
    }

    /// Changes what the body names; makes the entry of a group that has only services.
    pub async fn update_group(&self, scope: &Scope, name: &str, body: Value) -> Result<Understood<Arc<GroupEntry>>> {
        let mut fields = Fields::new(body)?;
        let named = input::name(&mut fields, "groupName", input::MAX_GROUP).value();
        same(&mut fields, "groupName", named, name);
        let said = Said::read(&mut fields);
        let ignored = fields.finish_open()?;
        let key = GroupKey::new(scope.tenant(), name);
        scope.require_write(name, self.engine.group(&key).as_deref())?;
        self.require_storage()?;
        let exists = self.engine.groups(scope.tenant()).contains_key(name);
        let now = self.engine.now();
        let cause = scope.cause("the group was changed");
        let changed = self.engine.describe_group(&key, &cause, |current| match current {
            Some(entry) => Ok(Some(said.over(entry.clone(), now))),
            None if exists => Ok(Some(said.over(blank(&key, &cause.actor, now), now))),
            None => Err(Error::not_found("group")),
        })?;
        self.stored(changed.revision).await?;
        Ok(Understood { value: changed, ignored })
    }

    /// Deletes a group in which nothing is registered. Entries of its services stay, in a group that is implicit then.
    pub async fn delete_group(&self, scope: &Scope, name: &str) -> Result<()> {
        let key = GroupKey::new(scope.tenant(), name);
        scope.require_write(name, self.engine.group(&key).as_deref())?;
        self.require_storage()?;
        let live = || -> usize {
            let services = self.engine.services(scope.tenant());
            let inside = services.iter().filter(|snapshot| *snapshot.key.group == *name);
            inside.map(|snapshot| snapshot.instances.len()).sum()
        };
        // Counted while nothing else changes, so that no registration slips in between.
        let gone = self.engine.describe_group(&key, &scope.cause("the group was deleted"), |_| match live() {
            0 => Ok(None),
            live => Err(Error::conflict(format!("the group has {live} live instances"))),
        })?;
        self.stored(gone.revision).await
    }
}

fn blank(key: &GroupKey, owner: &str, now: Time) -> GroupEntry {
    GroupEntry {
        key: key.clone(),
        description: String::new(),
        group_type: "BUSINESS".to_owned(),
        owner_user_id: owner.to_owned(),
        admin_user_ids: Vec::new(),
        read_user_ids: Vec::new(),
        access_control: false,
        default_protocol_type: "HTTP".to_owned(),
        default_load_balance_strategy: "ROUND_ROBIN".to_owned(),
        default_health_check_url: "/health".to_owned(),
        default_health_check_interval_seconds: 30,
        active: true,
        created_at: now,
        updated_at: now,
        revision: 0,
    }
}

impl Said {
    fn read(fields: &mut Fields) -> Said {
        Said {
            description: fields.string("groupDescription", 0..=2_000).value(),
            group_type: fields.string("groupType", 1..=50).value(),
            owner_user_id: fields.string("ownerUserId", 0..=100).value(),
            admin_user_ids: fields.strings("adminUserIds", 1_000, 1..=100).value(),
            read_user_ids: fields.strings("readUserIds", 1_000, 1..=100).value(),
            access_control: input::flag(fields, "accessControlEnabled"),
            default_protocol_type: fields.string("defaultProtocolType", 1..=50).value(),
            default_load_balance_strategy: fields.string("defaultLoadBalanceStrategy", 1..=50).value(),
            default_health_check_url: fields.string("defaultHealthCheckUrl", 0..=500).value(),
            default_health_check_interval_seconds: seconds(fields, "defaultHealthCheckIntervalSeconds"),
            active: input::flag(fields, "activeFlag"),
        }
    }

    fn over(self, entry: GroupEntry, now: Time) -> GroupEntry {
        GroupEntry {
            description: self.description.unwrap_or(entry.description),
            group_type: self.group_type.unwrap_or(entry.group_type),
            owner_user_id: self.owner_user_id.unwrap_or(entry.owner_user_id),
            admin_user_ids: self.admin_user_ids.unwrap_or(entry.admin_user_ids),
            read_user_ids: self.read_user_ids.unwrap_or(entry.read_user_ids),
            access_control: self.access_control.unwrap_or(entry.access_control),
            default_protocol_type: self.default_protocol_type.unwrap_or(entry.default_protocol_type),
            default_load_balance_strategy: self
                .default_load_balance_strategy
                .unwrap_or(entry.default_load_balance_strategy),
            default_health_check_url: self.default_health_check_url.unwrap_or(entry.default_health_check_url),
            default_health_check_interval_seconds: self
                .default_health_check_interval_seconds
                .unwrap_or(entry.default_health_check_interval_seconds),
            active: self.active.unwrap_or(entry.active),
            updated_at: now,
            ..entry
        }
    }
}
