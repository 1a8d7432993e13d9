//! What an instance says about the paths it serves: `metadata.routes`, as CONTRACT.md has it.

use std::{fmt, time::Duration};

use http::Method;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use sker_error::{Error, Result};
use sker_types::{Principal, Role};

use super::path::canonical;

/// The methods that are routed, in the order of their bits.
const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

/// A set of methods.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Methods(u8);

impl Methods {
    /// Every method that is routed.
    pub const ALL: Methods = Methods((1 << METHODS.len()) - 1);
    /// None.
    pub const NONE: Methods = Methods(0);
    /// GET alone.
    pub const GET: Methods = Methods(1);
    /// GET, and HEAD with it.
    pub const READ: Methods = Methods(0b11);
    /// How many there are.
    pub const COUNT: usize = METHODS.len();

    /// The position of a method; `None` for those that are never routed (CONNECT, TRACE and inventions).
    pub fn index(method: &Method) -> Option<usize> {
        METHODS.iter().position(|known| known == method)
    }

    fn parse(names: &[String]) -> Result<Methods, String> {
        let mut set = Methods::NONE;
        for name in names {
            let method = Method::from_bytes(name.to_ascii_uppercase().as_bytes()).ok();
            let index = method.as_ref().and_then(Methods::index).ok_or_else(|| format!("unknown method {name}"))?;
            set.0 |= 1 << index;
        }
        // Whoever answers GET answers HEAD (RFC 9110 section 9.3.2).
        if set.contains(0) {
            set.0 |= 1 << 1;
        }
        Ok(if set == Methods::NONE { Methods::ALL } else { set })
    }

    /// Whether the method at this position is in the set.
    pub fn contains(self, index: usize) -> bool {
        self.0 & (1 << index) != 0
    }

    /// Adds the method at this position.
    pub fn insert(&mut self, index: usize) {
        self.0 |= 1 << index;
    }

    /// An order of sets, so that lists of routes always look the same.
    pub fn cmp_bits(self, other: Methods) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }

    /// Whether the set is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The positions of its methods.
    pub fn indexes(self) -> impl Iterator<Item = usize> {
        (0..Methods::COUNT).filter(move |index| self.contains(*index))
    }

    fn names(self) -> impl Iterator<Item = &'static str> {
        const NAMES: [&str; Methods::COUNT] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
        self.indexes().map(|index| NAMES[index])
    }
}

impl fmt::Display for Methods {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, name) in self.names().enumerate() {
            formatter.write_str(if position == 0 { "" } else { ", " })?;
            formatter.write_str(name)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Methods {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Methods({self})")
    }
}

impl Serialize for Methods {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.names())
    }
}

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Anyone; a token is passed on unread.
    None,
    /// Anyone with a valid token.
    User,
    /// Administrators.
    Admin,
    /// Services of the platform.
    Service,
}

impl Access {
    /// Decides for a caller whose token was valid, or who had none.
    ///
    /// # Errors
    /// `unauthenticated` without a token where one is needed, `forbidden` with one that does not do.
    pub fn allow(self, principal: Option<&Principal>) -> Result<()> {
        let role = principal.and_then(|principal| principal.role);
        match (self, role) {
            (Access::None, _) | (Access::User, Some(_)) => Ok(()),
            (Access::Admin, Some(Role::Admin)) | (Access::Service, Some(Role::Service)) => Ok(()),
            (_, None) => Err(Error::unauthenticated("this path needs a bearer token")),
            (Access::Admin, _) => Err(Error::forbidden("this path is for administrators")),
            (Access::Service, _) => Err(Error::forbidden("this path is for services of the platform")),
        }
    }
}

/// Which paths a route covers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pattern {
    /// This path and no other.
    Exact(String),
    /// This path and all under it; written with `/*` at its end. Kept without the slash; the root is empty.
    Prefix(String),
}

impl Pattern {
    fn parse(text: &str) -> Result<Pattern, String> {
        let (base, prefix) = match text.strip_suffix("/*") {
            Some(base) => (base, true),
            None => (text, false),
        };
        if base.contains('*') {
            return Err(format!("{text:?}: a star may stand only at the end, after a slash"));
        }
        if prefix && base.is_empty() {
            return Ok(Pattern::Prefix(String::new()));
        }
        match canonical(base) {
            Ok(same) if same == base && !(prefix && base.ends_with('/')) => Ok(match prefix {
                true => Pattern::Prefix(base.to_owned()),
                false => Pattern::Exact(base.to_owned()),
            }),
            Ok(other) => Err(format!("{text:?} is not canonical; write {other}")),
            Err(fault) => Err(format!("{text:?}: {fault}")),
        }
    }

    /// The path without the star.
    pub fn base(&self) -> &str {
        match self {
            Pattern::Exact(base) | Pattern::Prefix(base) => base,
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::Exact(path) => formatter.write_str(path),
            Pattern::Prefix(path) => write!(formatter, "{path}/*"),
        }
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One declared route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSpec {
    /// The paths.
    pub pattern: Pattern,
    /// The methods.
    pub methods: Methods,
    /// Taken off the path's beginning.
    pub strip_prefix: String,
    /// Put in its place.
    pub rewrite_prefix: String,
    /// Who may use it.
    pub access: Access,
    /// How long the upstream may take until its answer begins; the gateway's own default when `None`.
    pub timeout: Option<Duration>,
    /// Further attempts of an idempotent request whose connection failed before there was an answer.
    pub retries: u32,
    /// Members that were declared and have no effect in this version of the gateway, so that nobody counts on them.
    pub unapplied: Vec<&'static str>,
}

#[derive(Deserialize)]
struct RawRoute {
    path: String,
    #[serde(default)]
    methods: Vec<String>,
    #[serde(default)]
    strip_prefix: String,
    #[serde(default)]
    rewrite_prefix: String,
    load_balancer: Option<String>,
    #[serde(default = "user")]
    auth: Access,
    timeout_ms: Option<u64>,
    #[serde(default)]
    retries: u32,
    rate_limit: Option<Value>,
}

/// A route whose service forgot to say who may use it is not open to all.
fn user() -> Access {
    Access::User
}

impl RouteSpec {
    /// Reads one route. Fields that this version does not know are ignored: a newer service may declare more.
    pub fn parse(value: Value) -> Result<RouteSpec, String> {
        let raw: RawRoute = serde_json::from_value(value).map_err(|error| error.to_string())?;
        let pattern = Pattern::parse(&raw.path)?;
        let strip_prefix = prefix("strip_prefix", raw.strip_prefix)?;
        if !super::path::is_under(pattern.base(), &strip_prefix) {
            return Err(format!("strip_prefix {strip_prefix:?} does not lead path {pattern}"));
        }
        if raw.timeout_ms == Some(0) || raw.timeout_ms.is_some_and(|timeout| timeout > 86_400_000) {
            return Err("timeout_ms must be within 1 and 86400000".to_owned());
        }
        let other_balancer = raw.load_balancer.is_some_and(|name| !name.eq_ignore_ascii_case("round_robin"));
        let unapplied = [("load_balancer", other_balancer), ("rate_limit", raw.rate_limit.is_some())];
        let unapplied = unapplied.into_iter().filter(|(_, declared)| *declared).map(|(name, _)| name).collect();
        Ok(RouteSpec {
            pattern,
            methods: Methods::parse(&raw.methods)?,
            rewrite_prefix: prefix("rewrite_prefix", raw.rewrite_prefix)?,
            strip_prefix,
            access: raw.auth,
            timeout: raw.timeout_ms.map(Duration::from_millis),
            retries: raw.retries.min(5),
            unapplied,
        })
    }

    /// Reads an instance's metadata: its good routes, and what is wrong with the others.
    pub fn from_metadata(metadata_json: &str) -> (Vec<RouteSpec>, Vec<String>) {
        let Ok(metadata) = serde_json::from_str::<Value>(metadata_json) else { return (Vec::new(), Vec::new()) };
        let list = match metadata.get("routes") {
            None | Some(Value::Null) => return (Vec::new(), Vec::new()),
            Some(Value::Array(list)) => list.clone(),
            // Foreign clients keep metadata as strings only.
            Some(Value::String(text)) => match serde_json::from_str(text) {
                Ok(Value::Array(list)) => list,
                _ => return (Vec::new(), vec!["metadata.routes is not a JSON array".to_owned()]),
            },
            Some(_) => return (Vec::new(), vec!["metadata.routes is not an array".to_owned()]),
        };
        let mut specs = Vec::new();
        let mut faults = Vec::new();
        for value in list {
            match RouteSpec::parse(value) {
                Ok(spec) => specs.push(spec),
                Err(fault) => faults.push(fault),
            }
        }
        (specs, faults)
    }

    /// The path that the upstream sees, or `None` when it is the same.
    pub fn rewrite(&self, path: &str) -> Option<String> {
        if self.strip_prefix.is_empty() && self.rewrite_prefix.is_empty() {
            return None;
        }
        let rest = path.strip_prefix(&self.strip_prefix).unwrap_or(path);
        let slash =
            if rest.starts_with('/') || (rest.is_empty() && !self.rewrite_prefix.is_empty()) { "" } else { "/" };
        Some(format!("{}{slash}{rest}", self.rewrite_prefix))
    }
}

/// A prefix that is stripped or put in place: empty, or canonical and without a slash at its end.
fn prefix(name: &str, text: String) -> Result<String, String> {
    let trimmed = text.trim_end_matches('/');
    if trimmed.is_empty() || canonical(trimmed).as_deref() == Ok(trimmed) {
        Ok(trimmed.to_owned())
    } else {
        Err(format!("{name} {text:?} is not a canonical path"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(value: Value) -> RouteSpec {
        RouteSpec::parse(value).unwrap()
    }

    #[test]
    fn a_route_that_says_little_is_careful() {
        let spec = spec(json!({"path": "/api/v1/*"}));
        assert_eq!(spec.access, Access::User);
        assert_eq!(spec.methods, Methods::ALL);
        assert_eq!(spec.retries, 0);
        assert_eq!(spec.pattern.to_string(), "/api/v1/*");
        assert!(spec.unapplied.is_empty());
    }

    #[test]
    fn a_prefix_is_stripped_and_another_put_in_its_place() {
        let registry = spec(
            json!({"path": "/api/v1/registry/*", "strip_prefix": "/api/v1/registry", "rewrite_prefix": "/api/v1"}),
        );
        assert_eq!(registry.rewrite("/api/v1/registry/services").as_deref(), Some("/api/v1/services"));
        assert_eq!(registry.rewrite("/api/v1/registry").as_deref(), Some("/api/v1"));
        let stripped = spec(json!({"path": "/shop/*", "strip_prefix": "/shop"}));
        assert_eq!(stripped.rewrite("/shop").as_deref(), Some("/"));
        assert_eq!(stripped.rewrite("/shop/cart").as_deref(), Some("/cart"));
        assert_eq!(spec(json!({"path": "/shop/*"})).rewrite("/shop/cart"), None);
    }

    #[test]
    fn routes_that_make_no_sense_are_refused_with_a_reason() {
        for value in [
            json!({"path": "api/v1"}),
            json!({"path": "/api//v1/*"}),
            json!({"path": "/api/../v1"}),
            json!({"path": "/api/*/v1"}),
            json!({"path": "/a", "methods": ["CONNECT"]}),
            json!({"path": "/a", "auth": "anyone"}),
            json!({"path": "/a/*", "strip_prefix": "/b"}),
            json!({"path": "/a", "timeout_ms": 0}),
            json!({"methods": ["GET"]}),
        ] {
            assert!(RouteSpec::parse(value.clone()).is_err(), "{value}");
        }
    }

    #[test]
    fn metadata_may_hold_the_routes_as_a_list_or_as_text() {
        let list = json!([{"path": "/a"}, {"path": "b"}]);
        for metadata in [json!({"routes": list}), json!({"routes": list.to_string()})] {
            let (specs, faults) = RouteSpec::from_metadata(&metadata.to_string());
            assert_eq!((specs.len(), faults.len()), (1, 1));
        }
        assert_eq!(RouteSpec::from_metadata("{}"), (vec![], vec![]));
        assert_eq!(RouteSpec::from_metadata("").0, vec![]);
    }

    #[test]
    fn each_level_lets_in_whom_it_names() {
        let user = Principal::user(sker_types::new_id(), Role::User);
        let admin = Principal::user(sker_types::new_id(), Role::Admin);
        let service = Principal::service("broker");
        let allowed = |access: Access| {
            [None, Some(&user), Some(&admin), Some(&service)].map(|principal| access.allow(principal).is_ok())
        };
        assert_eq!(allowed(Access::None), [true, true, true, true]);
        assert_eq!(allowed(Access::User), [false, true, true, true]);
        assert_eq!(allowed(Access::Admin), [false, false, true, false]);
        assert_eq!(allowed(Access::Service), [false, false, false, true]);
    }
}
