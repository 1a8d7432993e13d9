//! One OpenAPI document out of the gateway's own and those of the services behind it.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::route::{Methods, Pattern, RouteSpec};

/// The document of one service, and the routes through which it can be reached.
#[derive(Debug)]
pub struct Part {
    /// The service's name; sets its components apart where names collide.
    pub service: String,
    /// Its OpenAPI 3.1 document.
    pub document: Value,
    /// Its routes in force.
    pub routes: Vec<(RouteSpec, Methods)>,
}

/// The names of operations in a path item, in the order of [`Methods`].
const OPERATIONS: [&str; Methods::COUNT] = ["get", "head", "post", "put", "patch", "delete", "options"];

/// Merges documents: of each service the operations that its routes lead to, under the path that clients use.
pub fn merge(mut own: Value, parts: Vec<Part>) -> Value {
    for mut part in parts {
        let renamed = rename_components(&own, &mut part);
        if !renamed.is_empty() {
            rewrite_references(&mut part.document, &renamed);
        }
        merge_components(&mut own, &mut part.document);
        merge_tags(&mut own, &mut part.document);
        merge_paths(&mut own, &mut part);
    }
    own
}

fn object<'a>(value: &'a mut Value, key: &str) -> Option<&'a mut Map<String, Value>> {
    if value.get(key).is_none() {
        value.as_object_mut()?.insert(key.to_owned(), Value::Object(Map::new()));
    }
    value.get_mut(key)?.as_object_mut()
}

/// Gives another name to components whose name is taken by something else. Answers old and new references.
fn rename_components(own: &Value, part: &mut Part) -> HashMap<String, String> {
    let mut renamed = HashMap::new();
    let Some(sections) = part.document.get_mut("components").and_then(Value::as_object_mut) else { return renamed };
    for (section, components) in sections {
        let Some(components) = components.as_object_mut() else { continue };
        let taken = own.pointer(&format!("/components/{section}"));
        let collisions: Vec<String> = components
            .iter()
            .filter(|(name, content)| taken.and_then(|taken| taken.get(name)).is_some_and(|other| other != *content))
            .map(|(name, _)| name.clone())
            .collect();
        for name in collisions {
            let new = format!("{}_{name}", part.service.replace(['-', '.', ' '], "_"));
            if let Some(content) = components.remove(&name) {
                components.insert(new.clone(), content);
            }
            renamed.insert(format!("#/components/{section}/{name}"), format!("#/components/{section}/{new}"));
        }
    }
    renamed
}

fn rewrite_references(value: &mut Value, renamed: &HashMap<String, String>) {
    match value {
        Value::String(text) => {
            if let Some(new) = renamed.get(text.as_str()) {
                text.clone_from(new);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rewrite_references(item, renamed)),
        Value::Object(map) => map.values_mut().for_each(|item| rewrite_references(item, renamed)),
        _ => {}
    }
}

fn merge_components(own: &mut Value, document: &mut Value) {
    let Some(Value::Object(sections)) = document.get_mut("components").map(Value::take) else { return };
    let Some(components) = object(own, "components") else { return };
    for (section, content) in sections {
        let Value::Object(content) = content else { continue };
        let into = components.entry(section).or_insert_with(|| Value::Object(Map::new()));
        if let Some(into) = into.as_object_mut() {
            for (name, component) in content {
                into.entry(name).or_insert(component);
            }
        }
    }
}

fn merge_tags(own: &mut Value, document: &mut Value) {
    let Some(Value::Array(tags)) = document.get_mut("tags").map(Value::take) else { return };
    let Some(own) = own.as_object_mut() else { return };
    let into = own.entry("tags").or_insert_with(|| Value::Array(Vec::new()));
    if let Some(into) = into.as_array_mut() {
        for tag in tags {
            if !into.iter().any(|known| known.get("name") == tag.get("name")) {
                into.push(tag);
            }
        }
    }
}

fn merge_paths(own: &mut Value, part: &mut Part) {
    let security = part.document.get("security").cloned();
    let Some(Value::Object(paths)) = part.document.get_mut("paths").map(Value::take) else { return };
    let Some(into) = object(own, "paths") else { return };
    for (inner, item) in paths {
        let Value::Object(item) = item else { continue };
        for (spec, methods) in &part.routes {
            let Some(outer) = outer_path(spec, &inner) else { continue };
            let target = into.entry(outer).or_insert_with(|| Value::Object(Map::new()));
            let Some(target) = target.as_object_mut() else { continue };
            for (key, content) in &item {
                let operation = OPERATIONS.iter().position(|name| name == key);
                if operation.is_some_and(|index| !methods.contains(index)) || target.contains_key(key) {
                    continue;
                }
                let mut content = content.clone();
                if let (Some(_), Some(operation), Some(security)) = (operation, content.as_object_mut(), &security) {
                    // What a whole document requires is said at each operation, since documents differ.
                    operation.entry("security").or_insert_with(|| security.clone());
                }
                target.insert(key.clone(), content);
            }
            let served = OPERATIONS.iter().any(|name| target.contains_key(*name));
            if !served {
                target.clear();
            }
        }
    }
    into.retain(|_, item| item.as_object().is_some_and(|item| !item.is_empty()));
}

/// The path under which clients find what the service calls `inner`; `None` when this route does not lead there.
fn outer_path(spec: &RouteSpec, inner: &str) -> Option<String> {
    let rest = inner.strip_prefix(&spec.rewrite_prefix)?;
    if !(rest.is_empty() || rest.starts_with('/')) {
        return None;
    }
    let outer = format!("{}{rest}", spec.strip_prefix);
    let covered = match &spec.pattern {
        Pattern::Exact(path) => outer == *path,
        Pattern::Prefix(prefix) => super::path::is_under(&outer, prefix),
    };
    covered.then_some(outer)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn part(service: &str, routes: Value, document: Value) -> Part {
        let Value::Array(routes) = routes else { panic!("not a list") };
        let routes = routes.into_iter().map(|route| RouteSpec::parse(route).unwrap());
        Part { service: service.into(), document, routes: routes.map(|spec| (spec.clone(), spec.methods)).collect() }
    }

    #[test]
    fn only_what_clients_can_reach_is_described_and_under_their_paths() {
        let registry = part(
            "registry",
            json!([{"path": "/api/v1/registry/*", "methods": ["GET"], "strip_prefix": "/api/v1/registry",
                "rewrite_prefix": "/api/v1"}]),
            json!({"paths": {
                "/api/v1/services": {"get": {"summary": "list"}, "post": {"summary": "make"}},
                "/api/v1/instances": {"post": {}},
                "/health": {"get": {}},
            }}),
        );
        let merged = merge(json!({"openapi": "3.1.0", "paths": {"/ws": {"get": {}}}}), vec![registry]);
        let paths: Vec<&String> = merged["paths"].as_object().unwrap().keys().collect();
        assert_eq!(paths, ["/api/v1/registry/services", "/ws"]);
        assert!(merged["paths"]["/api/v1/registry/services"].get("post").is_none());
    }

    #[test]
    fn components_that_share_a_name_are_kept_apart_when_they_differ() {
        let schema = |kind: &str| {
            json!({"components": {"schemas": {"Status": {"type": kind}, "Problem": {"type": "object"}}},
            "paths": {"/api/v1/x": {"get": {"schema": {"$ref": "#/components/schemas/Status"}}}}})
        };
        let store = part("store", json!([{"path": "/api/v1/*"}]), schema("string"));
        let mut second = part("database-service", json!([{"path": "/api/database/*"}]), schema("integer"));
        second.document["paths"] =
            json!({"/api/database/x": {"get": {"schema": {"$ref": "#/components/schemas/Status"}}}});
        let merged = merge(json!({"paths": {}}), vec![store, second]);
        assert_eq!(merged["components"]["schemas"].as_object().unwrap().len(), 3);
        let reference = |path: &str| merged["paths"][path]["get"]["schema"]["$ref"].as_str().unwrap().to_owned();
        assert_eq!(reference("/api/v1/x"), "#/components/schemas/Status");
        assert_eq!(reference("/api/database/x"), "#/components/schemas/database_service_Status");
    }

    #[test]
    fn a_document_that_is_no_document_adds_nothing() {
        let own = json!({"paths": {"/ws": {"get": {}}}});
        let odd = part("odd", json!([{"path": "/*"}]), json!(["nonsense"]));
        assert_eq!(merge(own.clone(), vec![odd]), own);
    }
}
