//! Who may do what. Pure: roles in, decision out.

use sker_error::{Error, Result};
use sker_types::{Principal, PrincipalKind, Uuid};

/// What somebody may do with a project, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// Read it.
    View,
    /// Change what is in it.
    Edit,
    /// Change its members, archive it, delete it.
    Admin,
}

impl Access {
    /// The name used on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Access::View => "view",
            Access::Edit => "edit",
            Access::Admin => "admin",
        }
    }

    /// The access of that name.
    pub fn parse(name: &str) -> Option<Access> {
        [Access::View, Access::Edit, Access::Admin].into_iter().find(|access| access.as_str() == name)
    }
}

/// What a principal may do with a project of `owner` in which it is a member with `member`.
///
/// Owners, the platform's administrators and its services may do everything; anybody else what their membership says.
/// `None` means that the project does not exist as far as this principal can tell.
pub fn project_access(principal: &Principal, owner: Uuid, member: Option<Access>) -> Option<Access> {
    match principal.kind {
        PrincipalKind::Anonymous => None,
        PrincipalKind::Service => principal.is_service().then_some(Access::Admin),
        PrincipalKind::User if principal.is_admin() || principal.user_id() == Some(owner) => Some(Access::Admin),
        PrincipalKind::User => member,
    }
}

/// Asks for at least `needed`.
///
/// # Errors
/// `not_found` when nothing is granted, so that nobody learns what exists; `forbidden` when it is too little. `what` is
/// a noun, for example `project`.
pub fn require(granted: Option<Access>, needed: Access, what: &str) -> Result<()> {
    match granted {
        None => Err(Error::not_found(what)),
        Some(access) if access < needed => {
            Err(Error::forbidden(format!("this needs {} access to the {what}", needed.as_str())))
        }
        Some(_) => Ok(()),
    }
}

/// Who may use a route or a call (`auth` of a route in CONTRACT.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Audience {
    /// Anybody.
    Anyone,
    /// Anybody who is signed in, services included.
    User,
    /// The platform's administrators.
    Admin,
    /// The platform's services.
    Service,
}

impl Audience {
    /// The name used in routes.
    pub fn as_str(self) -> &'static str {
        match self {
            Audience::Anyone => "none",
            Audience::User => "user",
            Audience::Admin => "admin",
            Audience::Service => "service",
        }
    }

    /// The audience of that name.
    pub fn parse(name: &str) -> Option<Audience> {
        [Audience::Anyone, Audience::User, Audience::Admin, Audience::Service]
            .into_iter()
            .find(|audience| audience.as_str() == name)
    }

    /// Checks that a principal belongs to it.
    ///
    /// # Errors
    /// `unauthenticated` for anonymous callers, `forbidden` for anybody else who does not belong to it.
    pub fn admit(self, principal: &Principal) -> Result<()> {
        let belongs = match self {
            Audience::Anyone => return Ok(()),
            Audience::User => principal.kind != PrincipalKind::Anonymous,
            Audience::Admin => principal.is_admin(),
            Audience::Service => principal.is_service(),
        };
        match (belongs, principal.kind) {
            (true, _) => Ok(()),
            (false, PrincipalKind::Anonymous) => Err(Error::unauthenticated("sign in first")),
            (false, _) => Err(Error::forbidden(match self {
                Audience::Admin => "only administrators may do this",
                _ => "only services of the platform may do this",
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use sker_error::Code;
    use sker_types::{Role, new_id};

    use super::*;

    #[test]
    fn the_table_of_project_access() {
        let owner = new_id();
        let stranger = Principal::user(new_id(), Role::User);
        let table = [
            (Principal::anonymous(), None, None),
            (Principal::user(owner, Role::User), None, Some(Access::Admin)),
            (Principal::user(owner, Role::User), Some(Access::View), Some(Access::Admin)),
            (Principal::user(new_id(), Role::Admin), None, Some(Access::Admin)),
            (Principal::service("broker"), None, Some(Access::Admin)),
            (stranger.clone(), None, None),
            (stranger.clone(), Some(Access::View), Some(Access::View)),
            (stranger.clone(), Some(Access::Edit), Some(Access::Edit)),
            (stranger, Some(Access::Admin), Some(Access::Admin)),
        ];
        for (principal, member, expected) in table {
            assert_eq!(project_access(&principal, owner, member), expected, "{principal:?} {member:?}");
        }
    }

    #[test]
    fn what_is_not_visible_does_not_exist_and_too_little_is_forbidden() {
        assert_eq!(require(None, Access::View, "project").unwrap_err().code(), Code::NotFound);
        let error = require(Some(Access::View), Access::Edit, "project").unwrap_err();
        assert_eq!((error.code(), error.message()), (Code::Forbidden, "this needs edit access to the project"));
        for granted in [Access::View, Access::Edit, Access::Admin] {
            for needed in [Access::View, Access::Edit, Access::Admin] {
                assert_eq!(require(Some(granted), needed, "project").is_ok(), granted >= needed);
            }
        }
    }

    #[test]
    fn the_table_of_audiences() {
        let anonymous = Principal::anonymous();
        let user = Principal::user(new_id(), Role::User);
        let admin = Principal::user(new_id(), Role::Admin);
        let service = Principal::service("store");
        let code = |audience: Audience, principal| audience.admit(principal).err().map(|error| error.code());
        for principal in [&anonymous, &user, &admin, &service] {
            assert_eq!(code(Audience::Anyone, principal), None);
        }
        for audience in [Audience::User, Audience::Admin, Audience::Service] {
            assert_eq!(code(audience, &anonymous), Some(Code::Unauthenticated));
        }
        assert_eq!([&user, &admin, &service].map(|who| code(Audience::User, who)), [None; 3]);
        let forbidden = Some(Code::Forbidden);
        assert_eq!([&user, &admin, &service].map(|who| code(Audience::Admin, who)), [forbidden, None, forbidden]);
        assert_eq!([&user, &admin, &service].map(|who| code(Audience::Service, who)), [forbidden, forbidden, None]);
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for access in [Access::View, Access::Edit, Access::Admin] {
            assert_eq!(Access::parse(access.as_str()), Some(access));
        }
        for audience in [Audience::Anyone, Audience::User, Audience::Admin, Audience::Service] {
            assert_eq!(Audience::parse(audience.as_str()), Some(audience));
        }
        assert_eq!(Access::parse("owner"), None);
        assert_eq!(Audience::parse("root"), None);
    }
}
