//! The table that requests are matched with. It never changes: a new one takes its place.

use std::{collections::HashMap, sync::Arc};

use http::Method;
use serde::Serialize;
use sker_traffic::RoundRobin;

use super::{
    instance::Upstream,
    path::is_under,
    route::{Methods, Pattern, RouteSpec},
};

/// Paths that only services of the platform may claim. Without a route they are away, not unknown.
pub const RESERVED: [&str; 5] = ["/api/v1", "/api/database", "/api/system", "/ws", "/.well-known"];

/// Paths that the gateway answers itself and nobody may claim.
pub const OWN: [&str; 9] =
    ["/ws", "/health", "/ready", "/metrics", "/openapi.json", "/docs", "/api/docs", "/api/v1/events", "/api/v1/routes"];

/// Whether a pattern claims a reserved path.
pub fn is_reserved(pattern: &Pattern) -> bool {
    RESERVED.iter().any(|reserved| is_under(pattern.base(), reserved))
}

/// Whether a pattern claims a path of the gateway's own. One that merely covers it may: the gateway looks there first.
pub fn is_own(pattern: &Pattern) -> bool {
    OWN.iter().any(|own| is_under(pattern.base(), own))
}

/// Which service a route belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Owner {
    /// Its group; `file` for the gateway's own file.
    pub group: String,
    /// Its name.
    pub service: String,
}

impl Owner {
    /// The gateway's own file.
    pub fn file() -> Self {
        Owner { group: Self::FILE.to_owned(), service: Self::FILE.to_owned() }
    }

    /// Whether it is the gateway's own file.
    pub fn is_file(&self) -> bool {
        self.group == Self::FILE
    }

    const FILE: &str = "file";
}

/// A route in force.
#[derive(Debug)]
pub struct Route {
    /// As it was declared.
    pub spec: RouteSpec,
    /// The methods it really has: those of them that no earlier claim holds.
    pub methods: Methods,
    /// Its pattern, for metrics and logs.
    pub label: String,
    /// Whose it is.
    pub owner: Owner,
    /// Instances that serve it; empty while there is none.
    pub upstreams: Vec<Arc<Upstream>>,
    turn: RoundRobin,
}

impl Route {
    pub(crate) fn new(spec: RouteSpec, methods: Methods, owner: Owner) -> Self {
        let label = spec.pattern.to_string();
        Route { spec, methods, label, owner, upstreams: Vec::new(), turn: RoundRobin::new() }
    }

    /// The next instance, preferring those that could be reached lately, and never one of `tried`.
    pub fn pick(&self, tried: &[u64]) -> Option<&Arc<Upstream>> {
        let untried = |index: usize| !tried.contains(&self.upstreams[index].key);
        let rested = |index: usize| untried(index) && self.upstreams[index].is_rested();
        let index = match self.turn.pick_where(self.upstreams.len(), rested) {
            Some(index) => index,
            // When all are resting, one of them is tried all the same: better a slow answer than none.
            None => self.turn.pick_where(self.upstreams.len(), untried)?,
        };
        self.upstreams.get(index)
    }
}

/// A claim that is not in force, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Conflict {
    /// The path as declared.
    pub path: String,
    /// The methods that it does not get.
    pub methods: Methods,
    /// Who claims it.
    #[serde(flatten)]
    pub owner: Owner,
    /// Which of its instances.
    pub instance_id: String,
    /// Why not.
    pub reason: String,
}

/// What a path and a method lead to.
#[derive(Debug)]
pub enum Match<'a> {
    /// A route.
    Route(&'a Arc<Route>),
    /// The path has routes, but not for this method.
    MethodNotAllowed(Methods),
    /// The path belongs to the platform, and nothing serves it now.
    Unserved,
    /// Nobody has claimed it.
    Unknown,
}

#[derive(Debug, Default)]
struct Entry {
    by_method: [Option<Arc<Route>>; Methods::COUNT],
    methods: Methods,
    reserved: bool,
}

impl Default for Methods {
    fn default() -> Self {
        Methods::NONE
    }
}

/// All routes, found by path: an exact one first, then the longest prefix.
#[derive(Debug, Default)]
pub struct RouteTable {
    exact: HashMap<String, Entry>,
    prefixes: HashMap<String, Entry>,
    longest: usize,
    /// Every route, ordered by path.
    pub routes: Vec<Arc<Route>>,
    /// Claims that are not in force.
    pub conflicts: Vec<Conflict>,
    /// Whether the registry has been heard. Before that nothing is known to be unknown.
    pub complete: bool,
}

impl RouteTable {
    /// A table of these routes. No two of them may have a pattern and a method in common.
    pub fn new(mut routes: Vec<Route>, conflicts: Vec<Conflict>, complete: bool) -> Self {
        routes.sort_by(|a, b| a.spec.pattern.cmp(&b.spec.pattern).then_with(|| a.methods.cmp_bits(b.methods)));
        let mut table = RouteTable { conflicts, complete, ..RouteTable::default() };
        for path in RESERVED {
            // What is below a path of the gateway's own is nobody's, and nobody will ever come to serve it.
            table.entry(&Pattern::Prefix(path.to_owned())).reserved = !OWN.contains(&path);
        }
        for route in routes.into_iter().map(Arc::new) {
            let entry = table.entry(&route.spec.pattern);
            for index in route.methods.indexes() {
                entry.by_method[index] = Some(Arc::clone(&route));
                entry.methods.insert(index);
            }
            table.routes.push(route);
        }
        table
    }

    fn entry(&mut self, pattern: &Pattern) -> &mut Entry {
        match pattern {
            Pattern::Exact(path) => self.exact.entry(path.clone()).or_default(),
            Pattern::Prefix(path) => {
                self.longest = self.longest.max(path.len());
                self.prefixes.entry(path.clone()).or_default()
            }
        }
    }

    /// What a canonical path leads to.
    pub fn find(&self, method: &Method, path: &str) -> Match<'_> {
        let found = match self.exact.get(path).or_else(|| self.longest_prefix(path)) {
            Some(entry) => entry.lookup(method),
            None => Match::Unknown,
        };
        match found {
            Match::Unknown | Match::MethodNotAllowed(_) if !self.complete => Match::Unserved,
            found => found,
        }
    }

    fn longest_prefix(&self, path: &str) -> Option<&Entry> {
        // A prefix ends before a slash or at the end; of a long path only what could match is looked at.
        let mut end = path.len();
        loop {
            if end <= self.longest
                && let Some(entry) = self.prefixes.get(&path[..end])
            {
                return Some(entry);
            }
            let within = end.min(self.longest + 1);
            end = path[..within].rfind('/')?;
        }
    }
}

impl Entry {
    fn lookup(&self, method: &Method) -> Match<'_> {
        let route = Methods::index(method).and_then(|index| self.by_method[index].as_ref());
        match route {
            Some(route) => Match::Route(route),
            None if self.methods.is_empty() && self.reserved => Match::Unserved,
            None if self.methods.is_empty() => Match::Unknown,
            None => Match::MethodNotAllowed(self.methods),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn route(service: &str, value: serde_json::Value) -> Route {
        let spec = RouteSpec::parse(value).unwrap();
        let methods = spec.methods;
        Route::new(spec, methods, Owner { group: "g".into(), service: service.into() })
    }

    fn table() -> RouteTable {
        let routes = vec![
            route("store", json!({"path": "/api/v1/*"})),
            route("registry", json!({"path": "/api/v1/registry/*", "methods": ["GET"]})),
            route("shop", json!({"path": "/shop/*"})),
            route("shop", json!({"path": "/shop/cart"})),
            route("site", json!({"path": "/*"})),
        ];
        RouteTable::new(routes, Vec::new(), true)
    }

    fn who(table: &RouteTable, method: Method, path: &str) -> String {
        match table.find(&method, path) {
            Match::Route(route) => format!("{} {}", route.owner.service, route.spec.pattern),
            Match::MethodNotAllowed(methods) => format!("only {methods}"),
            Match::Unserved => "unserved".into(),
            Match::Unknown => "unknown".into(),
        }
    }

    #[test]
    fn the_longest_prefix_wins() {
        let table = table();
        for (path, expected) in [
            ("/api/v1", "store /api/v1/*"),
            ("/api/v1/projects/1", "store /api/v1/*"),
            ("/api/v1/registry/services", "registry /api/v1/registry/*"),
            ("/api/v1/registryx", "store /api/v1/*"),
            ("/api/v12", "site /*"),
            ("/shop/cart", "shop /shop/cart"),
            ("/shop/cart/2", "shop /shop/*"),
            ("/", "site /*"),
        ] {
            assert_eq!(who(&table, Method::GET, path), expected, "{path}");
        }
    }

    #[test]
    fn another_method_does_not_fall_through_to_a_shorter_prefix() {
        assert_eq!(who(&table(), Method::POST, "/api/v1/registry/services"), "only GET, HEAD");
        assert_eq!(who(&table(), Method::HEAD, "/api/v1/registry/services"), "registry /api/v1/registry/*");
        assert_eq!(who(&table(), Method::TRACE, "/shop/x"), format!("only {}", Methods::ALL));
    }

    #[test]
    fn a_platform_path_without_a_route_is_away_and_no_one_elses() {
        let table = RouteTable::new(vec![route("site", json!({"path": "/*"}))], Vec::new(), true);
        assert_eq!(who(&table, Method::GET, "/api/v1/projects"), "unserved");
        assert_eq!(who(&table, Method::GET, "/api/database/status"), "unserved");
        assert_eq!(who(&table, Method::GET, "/elsewhere"), "site /*");
        assert_eq!(who(&table, Method::GET, "/ws/"), "unknown", "waiting for it would be in vain");
        let empty = RouteTable::new(Vec::new(), Vec::new(), true);
        assert_eq!(who(&empty, Method::GET, "/elsewhere"), "unknown");
        let starting = RouteTable::new(Vec::new(), Vec::new(), false);
        assert_eq!(who(&starting, Method::GET, "/elsewhere"), "unserved");
    }

    #[test]
    fn a_very_deep_path_is_found_all_the_same() {
        let deep = format!("/api/v1{}", "/x".repeat(5_000));
        assert_eq!(who(&table(), Method::GET, &deep), "store /api/v1/*");
        assert_eq!(who(&RouteTable::new(vec![], vec![], true), Method::GET, &"/x".repeat(5_000)), "unknown");
    }

    #[test]
    fn instances_take_turns_and_resting_ones_are_passed_over() {
        let mut route = route("shop", json!({"path": "/shop/*"}));
        route.upstreams =
            (1..=3).map(|port| Arc::new(Upstream::new(&port.to_string(), "127.0.0.1", port).unwrap())).collect();
        let ports = |route: &Route, tried: &[u64]| (0..3).map(|_| route.pick(tried).unwrap().port).collect::<Vec<_>>();
        assert_eq!(ports(&route, &[]), [1, 2, 3]);
        route.upstreams[1].mark_unreachable(std::time::Duration::from_secs(60));
        assert!(!ports(&route, &[]).contains(&2));
        for upstream in &route.upstreams {
            upstream.mark_unreachable(std::time::Duration::from_secs(60));
        }
        assert!(route.pick(&[]).is_some());
        let all: Vec<u64> = route.upstreams.iter().map(|upstream| upstream.key).collect();
        assert!(route.pick(&all).is_none());
    }

    #[test]
    fn own_and_reserved_paths_are_known_by_segment() {
        let reserved = |path: &str| is_reserved(&Pattern::Prefix(path.into()));
        assert!(reserved("/api/v1/auth") && reserved("/api/database") && reserved("/ws"));
        assert!(!reserved("/api/v12") && !reserved("/wsx") && !reserved(""));
        assert!(is_own(&Pattern::Exact("/api/v1/routes".into())) && !is_own(&Pattern::Prefix("/api/v1".into())));
    }
}
