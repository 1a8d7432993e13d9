use std::time::Duration;

use serde::{Deserialize, Serialize};
use sker_types::{Principal, PrincipalKind, Role, Uuid, new_id, now};

/// The `iss` of every token of the platform.
pub const ISSUER: &str = "sker";
/// The `aud` of every token of the platform.
pub const AUDIENCE: &str = "sker";

/// What an access token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The user's id, or the service's name.
    pub sub: String,
    /// The platform-wide role.
    pub role: Role,
    /// User or service.
    pub kind: PrincipalKind,
    /// The sign-in session that the token came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<Uuid>,
    /// When it was issued, in seconds since the Unix epoch.
    pub iat: i64,
    /// From when on it is refused, in seconds since the Unix epoch.
    pub exp: i64,
    /// The token's own id.
    pub jti: Uuid,
    /// Who issued it: [`ISSUER`].
    pub iss: String,
    /// Whom it is for: [`AUDIENCE`].
    pub aud: String,
}

impl Claims {
    /// Claims of a signed-in user.
    pub fn user(id: Uuid, role: Role, session: Uuid, ttl: Duration) -> Self {
        Claims { sid: Some(session), ..Claims::new(id.to_string(), role, PrincipalKind::User, ttl) }
    }

    /// Claims of a service that acts for itself.
    pub fn service(name: &str, ttl: Duration) -> Self {
        Claims::new(name.to_owned(), Role::Service, PrincipalKind::Service, ttl)
    }

    fn new(sub: String, role: Role, kind: PrincipalKind, ttl: Duration) -> Self {
        let iat = now().timestamp();
        let exp = iat.saturating_add(i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX));
        Claims { sub, role, kind, sid: None, iat, exp, jti: new_id(), iss: ISSUER.to_owned(), aud: AUDIENCE.to_owned() }
    }

    /// Who the bearer is.
    pub fn principal(&self) -> Principal {
        Principal { kind: self.kind, subject: self.sub.clone(), role: Some(self.role), session: self.sid }
    }

    /// Whether kind, role and subject fit together. A signed token that says otherwise was made by a faulty issuer.
    pub(crate) fn is_coherent(&self) -> bool {
        match self.kind {
            PrincipalKind::User => self.role != Role::Service && Uuid::try_parse(&self.sub).is_ok(),
            PrincipalKind::Service => self.role == Role::Service && !self.sub.is_empty(),
            PrincipalKind::Anonymous => false,
        }
    }
}
