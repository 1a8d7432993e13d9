use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What a principal may do across the platform; rights on one project come from its members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Runs the platform.
    Admin,
    /// Uses it.
    User,
    /// Is a part of it.
    Service,
}

impl Role {
    /// The name used in tokens.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Admin => "admin",
            Role::User => "user",
            Role::Service => "service",
        }
    }

    /// The role of that name.
    pub fn parse(name: &str) -> Option<Role> {
        match name {
            "admin" => Some(Role::Admin),
            "user" => Some(Role::User),
            "service" => Some(Role::Service),
            _ => None,
        }
    }
}

/// What kind of caller a principal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrincipalKind {
    /// Nobody in particular.
    Anonymous,
    /// A person, or a program that acts for one.
    User,
    /// A service of the platform acting for itself.
    Service,
}

/// Who makes a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// Anonymous, user or service.
    pub kind: PrincipalKind,
    /// The user's id, or the service's name; empty for anonymous callers.
    pub subject: String,
    /// The caller's platform-wide role; `None` for anonymous callers.
    pub role: Option<Role>,
    /// The sign-in session the token came from, if any.
    pub session: Option<Uuid>,
}

impl Principal {
    /// Nobody.
    pub fn anonymous() -> Self {
        Principal { kind: PrincipalKind::Anonymous, subject: String::new(), role: None, session: None }
    }

    /// A user with a role.
    pub fn user(id: Uuid, role: Role) -> Self {
        Principal { kind: PrincipalKind::User, subject: id.to_string(), role: Some(role), session: None }
    }

    /// A service of the platform.
    pub fn service(name: &str) -> Self {
        Principal { kind: PrincipalKind::Service, subject: name.to_owned(), role: Some(Role::Service), session: None }
    }

    /// The user's id; `None` for services and anonymous callers.
    pub fn user_id(&self) -> Option<Uuid> {
        match self.kind {
            PrincipalKind::User => Uuid::try_parse(&self.subject).ok(),
            _ => None,
        }
    }

    /// Whether this is an administrator.
    pub fn is_admin(&self) -> bool {
        self.role == Some(Role::Admin)
    }

    /// Whether this is a service of the platform acting for itself.
    pub fn is_service(&self) -> bool {
        self.role == Some(Role::Service)
    }
}
