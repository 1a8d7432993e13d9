//! Rules that fields of several resources share.

use std::ops::RangeInclusive;

use chrono::Datelike as _;
use serde_json::{Map, Value};
use sker_error::{Fields, Patch};
use sker_types::{Time, Uuid, parse_id, truncate};

/// The most that an open object (`metadata`, `settings`, ...) may have, as JSON.
pub(super) const OBJECT_BYTES: usize = 256 * 1024;
const TAGS: usize = 100;
const TAG_LENGTH: RangeInclusive<usize> = 1..=100;

/// A field that is there once and for all: it may be left out of a patch, but not be cleared.
pub(super) fn keep<T>(fields: &mut Fields, field: &str, patch: Patch<T>) -> Option<T> {
    match patch {
        Patch::Absent => None,
        Patch::Value(value) => Some(value),
        Patch::Null => {
            fields.fault(field, "not_nullable", "must not be null");
            None
        }
    }
}

/// An id in a body.
pub(super) fn id(fields: &mut Fields, field: &str) -> Patch<Uuid> {
    match fields.string(field, 0..=100) {
        Patch::Absent => Patch::Absent,
        Patch::Null => Patch::Null,
        Patch::Value(text) => match parse_id(&text) {
            Some(id) => Patch::Value(id),
            None => {
                fields.fault(field, "invalid", "must be a UUID");
                Patch::Absent
            }
        },
    }
}

/// A point in time in a body, RFC 3339. An offset can lead out of the years that RFC 3339 can spell, which no database would
/// give back.
pub(super) fn time(fields: &mut Fields, field: &str) -> Patch<Time> {
    match fields.string(field, 0..=100) {
        Patch::Absent => Patch::Absent,
        Patch::Null => Patch::Null,
        Patch::Value(text) => match chrono::DateTime::parse_from_rfc3339(&text) {
            Ok(time) if (0..=9999).contains(&time.to_utc().year()) => Patch::Value(truncate(time.to_utc())),
            _ => {
                fields.fault(field, "invalid", "must be a time as in RFC 3339, for example 2026-01-31T12:00:00Z");
                Patch::Absent
            }
        },
    }
}

/// Tags, each once; `null` takes all away.
pub(super) fn tags(fields: &mut Fields, field: &str) -> Option<Vec<String>> {
    match fields.strings(field, TAGS, TAG_LENGTH) {
        Patch::Absent => None,
        Patch::Null => Some(Vec::new()),
        Patch::Value(tags) => Some(distinct(tags)),
    }
}

/// Keeps the first of each.
pub(super) fn distinct(tags: Vec<String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::with_capacity(tags.len());
    for tag in tags {
        if !kept.contains(&tag) {
            kept.push(tag);
        }
    }
    kept
}

/// Tags that a result brings, cleaned rather than refused, after those that are there.
pub(super) fn add_tags(current: &Value, more: &Value) -> Value {
    let strings = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|tag| tag.as_str().map(str::to_owned)).collect()
    };
    let more = strings(more).into_iter().map(|tag| tag.trim().to_owned());
    let more = more.filter(|tag| TAG_LENGTH.contains(&tag.chars().count()) && !tag.contains('\0'));
    let mut tags = distinct(strings(current).into_iter().chain(more).collect());
    tags.truncate(TAGS);
    Value::from(tags)
}

/// An open object, patched onto what is there (RFC 7396); `null` empties it.
pub(super) fn open_object(fields: &mut Fields, field: &str, current: Option<&Value>) -> Option<Value> {
    let patch = match fields.object(field) {
        Patch::Absent => return None,
        Patch::Null => return Some(Value::Object(Map::new())),
        Patch::Value(patch) => Value::Object(patch),
    };
    let mut merged = current.cloned().unwrap_or_else(|| Value::Object(Map::new()));
    merge(&mut merged, patch);
    let size = serde_json::to_vec(&merged).map_or(usize::MAX, |text| text.len());
    if size > OBJECT_BYTES {
        fields.fault(field, "too_long", format!("must have at most {OBJECT_BYTES} bytes as JSON"));
        return None;
    }
    if has_nul(&merged) {
        fields.fault(field, "invalid", "must not contain the NUL character");
        return None;
    }
    Some(merged)
}

/// Whether a NUL stands anywhere in it, which PostgreSQL's `jsonb` cannot hold.
pub(super) fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(map) => map.iter().any(|(key, value)| key.contains('\0') || has_nul(value)),
        _ => false,
    }
}

/// Merge patch, RFC 7396, section 2.
fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (name, value) in patch {
        if value.is_null() {
            target.remove(&name);
        } else {
            merge(target.entry(name).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_patch_merges_as_in_the_examples_of_rfc_7396() {
        let cases = [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ];
        for (mut target, patch, expected) in cases {
            merge(&mut target, patch);
            assert_eq!(target, expected);
        }
    }

    #[test]
    fn tags_of_a_result_are_added_once_and_cleaned() {
        let tags = add_tags(&json!(["a", "b"]), &json!([" b ", "c", "", 7, "x".repeat(101)]));
        assert_eq!(tags, json!(["a", "b", "c"]));
    }
}
