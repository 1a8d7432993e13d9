use sker_api::{Ctx, PLATFORM_GROUP};
use sker_error::{Error, Result};
use sker_types::{Principal, PrincipalKind};

use super::model::{Cause, DEFAULT_TENANT, GroupEntry};

/// Whom the registry serves without a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anonymous {
    /// Nobody.
    Nobody,
    /// Callers on this machine.
    Local,
    /// Everybody.
    Everybody,
}

/// Who may come in.
#[derive(Clone, Copy, Debug)]
pub struct AccessRules {
    /// Tenants come from tokens and groups' access control is enforced.
    pub auth_enabled: bool,
    /// Whom to serve without a token.
    pub anonymous: Anonymous,
}

/// A caller who was let in, and to what.
#[derive(Clone, Debug)]
pub struct Scope {
    tenant: String,
    principal: Principal,
    enforce_groups: bool,
    request_id: String,
}

impl AccessRules {
    /// Lets a caller in. `local` says that the call comes from this machine itself.
    ///
    /// # Errors
    /// `unauthenticated` for anonymous callers who are not served; `forbidden` for another tenant than the caller's.
    pub fn admit(&self, ctx: &Ctx, local: bool) -> Result<Scope> {
        let named = if ctx.tenant.is_empty() { DEFAULT_TENANT } else { ctx.tenant.as_str() };
        check_tenant(named)?;
        let principal = &ctx.principal;
        if principal.kind == PrincipalKind::Anonymous {
            let served = match self.anonymous {
                Anonymous::Nobody => false,
                Anonymous::Local => local,
                Anonymous::Everybody => true,
            };
            if !served {
                return Err(Error::unauthenticated("the registry asks for a token here"));
            }
        }
        // Tokens name no tenant: users belong to the default one, platform services and administrators to all.
        let everywhere = principal.is_service() || principal.is_admin();
        let restricted = principal.kind == PrincipalKind::Anonymous || self.auth_enabled;
        if named != DEFAULT_TENANT && restricted && !everywhere {
            return Err(Error::forbidden("this caller belongs to another tenant than X-Tenant-Id says"));
        }
        Ok(Scope {
            tenant: named.to_owned(),
            principal: principal.clone(),
            enforce_groups: self.auth_enabled,
            request_id: ctx.request_id.clone(),
        })
    }
}

impl Scope {
    /// Whose data.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// Whether instances of this caller in `group` may declare routes.
    pub fn is_trusted_in(&self, group: &str) -> bool {
        self.principal.is_service() && group == PLATFORM_GROUP
    }

    /// Whether the caller may know what is in a group.
    pub fn may_read(&self, group: &str, entry: Option<&GroupEntry>) -> bool {
        match self.principal.kind {
            PrincipalKind::Anonymous if group == PLATFORM_GROUP => false,
            _ => self.owns_or(entry, |entry, subject| entry.read_user_ids.iter().any(|id| id == subject)),
        }
    }

    /// Whether the caller may change what is in a group. Only the platform registers in the platform's group.
    pub fn may_write(&self, group: &str, entry: Option<&GroupEntry>) -> bool {
        if group == PLATFORM_GROUP {
            return self.principal.is_service() || self.principal.is_admin();
        }
        self.owns_or(entry, |_, _| false)
    }

    /// Asks for leave to read.
    ///
    /// # Errors
    /// `forbidden`
    pub fn require_read(&self, group: &str, entry: Option<&GroupEntry>) -> Result<()> {
        if self.may_read(group, entry) { Ok(()) } else { Err(refusal(group)) }
    }

    /// Asks for leave to write.
    ///
    /// # Errors
    /// `forbidden`
    pub fn require_write(&self, group: &str, entry: Option<&GroupEntry>) -> Result<()> {
        if self.may_write(group, entry) { Ok(()) } else { Err(refusal(group)) }
    }

    /// This caller as the cause of a change.
    pub fn cause(&self, reason: &str) -> Cause {
        let actor = match self.principal.kind {
            PrincipalKind::Anonymous => "anonymous".to_owned(),
            PrincipalKind::User | PrincipalKind::Service => self.principal.subject.clone(),
        };
        Cause { actor, reason: reason.to_owned(), request_id: self.request_id.clone() }
    }

    fn owns_or(&self, entry: Option<&GroupEntry>, other: impl FnOnce(&GroupEntry, &str) -> bool) -> bool {
        let Some(entry) = entry else { return true };
        if !self.enforce_groups || !entry.access_control || self.principal.is_admin() || self.principal.is_service() {
            return true;
        }
        // Without a token there is nobody to be on a list.
        if self.principal.kind == PrincipalKind::Anonymous {
            return false;
        }
        let subject = self.principal.subject.as_str();
        entry.owner_user_id == subject || entry.admin_user_ids.iter().any(|id| id == subject) || other(entry, subject)
    }
}

fn refusal(group: &str) -> Error {
    Error::forbidden(match group {
        PLATFORM_GROUP => "the group sker-platform is for the platform's own services".to_owned(),
        _ => format!("the group {group} is not open to this caller"),
    })
}

fn check_tenant(name: &str) -> Result<()> {
    let allowed = |character: char| character.is_ascii_alphanumeric() || "_.-".contains(character);
    if name.len() <= 64 && name.chars().all(allowed) {
        return Ok(());
    }
    Err(Error::invalid_request("X-Tenant-Id must have 1 to 64 letters, digits, dots, dashes or underscores"))
}

#[cfg(test)]
mod tests {
    use sker_error::Code;
    use sker_types::{Role, new_id, now};

    use super::*;
    use crate::app::model::GroupKey;

    fn ctx(principal: Principal, tenant: &str) -> Ctx {
        Ctx { tenant: tenant.to_owned(), ..Ctx::new(principal) }
    }

    fn rules(auth_enabled: bool, anonymous: Anonymous) -> AccessRules {
        AccessRules { auth_enabled, anonymous }
    }

    fn group(owner: &str, access_control: bool) -> GroupEntry {
        GroupEntry {
            key: GroupKey::new("default", "business"),
            description: String::new(),
            group_type: "BUSINESS".to_owned(),
            owner_user_id: owner.to_owned(),
            admin_user_ids: Vec::new(),
            read_user_ids: Vec::new(),
            access_control,
            default_protocol_type: "HTTP".to_owned(),
            default_load_balance_strategy: "ROUND_ROBIN".to_owned(),
            default_health_check_url: "/health".to_owned(),
            default_health_check_interval_seconds: 30,
            active: true,
            created_at: now(),
            updated_at: now(),
            revision: 1,
        }
    }

    #[test]
    fn anonymous_callers_are_served_as_configured_and_only_in_the_default_tenant() {
        let nobody = ctx(Principal::anonymous(), "");
        let code = |rules: AccessRules, ctx: &Ctx, local| rules.admit(ctx, local).err().map(|error| error.code());
        assert_eq!(code(rules(false, Anonymous::Nobody), &nobody, true), Some(Code::Unauthenticated));
        assert_eq!(code(rules(false, Anonymous::Local), &nobody, false), Some(Code::Unauthenticated));
        assert_eq!(code(rules(false, Anonymous::Local), &nobody, true), None);
        assert_eq!(code(rules(false, Anonymous::Everybody), &nobody, false), None);
        let elsewhere = ctx(Principal::anonymous(), "acme");
        assert_eq!(code(rules(false, Anonymous::Everybody), &elsewhere, true), Some(Code::Forbidden));
    }

    #[test]
    fn with_authentication_a_user_stays_in_the_default_tenant() {
        let user = Principal::user(new_id(), Role::User);
        let admin = Principal::user(new_id(), Role::Admin);
        let strict = rules(true, Anonymous::Nobody);
        assert!(strict.admit(&ctx(user.clone(), "default"), false).is_ok());
        assert_eq!(strict.admit(&ctx(user.clone(), "acme"), false).unwrap_err().code(), Code::Forbidden);
        assert!(strict.admit(&ctx(admin, "acme"), false).is_ok());
        assert!(strict.admit(&ctx(Principal::service("gateway"), "acme"), false).is_ok());
        assert!(rules(false, Anonymous::Local).admit(&ctx(user, "acme"), false).is_ok());
    }

    #[test]
    fn the_platform_group_is_closed_to_anonymous_callers_and_read_only_for_users() {
        let open = rules(false, Anonymous::Everybody);
        let anonymous = open.admit(&ctx(Principal::anonymous(), ""), true).unwrap();
        assert!(!anonymous.may_read(PLATFORM_GROUP, None) && !anonymous.may_write(PLATFORM_GROUP, None));
        let user = open.admit(&ctx(Principal::user(new_id(), Role::User), ""), true).unwrap();
        assert!(user.may_read(PLATFORM_GROUP, None) && !user.may_write(PLATFORM_GROUP, None));
        let service = open.admit(&ctx(Principal::service("store"), ""), true).unwrap();
        assert!(service.may_write(PLATFORM_GROUP, None) && service.is_trusted_in(PLATFORM_GROUP));
        assert!(!service.is_trusted_in("business") && !user.is_trusted_in(PLATFORM_GROUP));
    }

    #[test]
    fn access_control_lets_in_owner_admins_and_readers() {
        let strict = rules(true, Anonymous::Everybody);
        let user = new_id();
        let scope = strict.admit(&ctx(Principal::user(user, Role::User), ""), false).unwrap();
        let named = user.to_string();
        let closed = group("somebody-else", true);
        assert!(!scope.may_read("business", Some(&closed)) && !scope.may_write("business", Some(&closed)));
        let owned = group(&named, true);
        assert!(scope.may_read("business", Some(&owned)) && scope.may_write("business", Some(&owned)));
        let admin = GroupEntry { admin_user_ids: vec![named.clone()], ..closed.clone() };
        assert!(scope.may_write("business", Some(&admin)));
        let reader = GroupEntry { read_user_ids: vec![named], ..closed };
        assert!(scope.may_read("business", Some(&reader)) && !scope.may_write("business", Some(&reader)));
        assert!(scope.may_write("business", Some(&group("somebody-else", false))));
        let anonymous = strict.admit(&ctx(Principal::anonymous(), ""), false).unwrap();
        assert!(!anonymous.may_read("business", Some(&owned)));
    }
}
