use serde_json::{Map, Value};

use crate::{Error, FieldError, Result};

/// How deep an open object may be nested. JSON readers stop at some depth (serde_json at 128), and what was taken here must
/// still be readable inside the events and messages that carry it.
pub const MAX_DEPTH: usize = 64;

/// What a body says about a field: nothing, `null`, or a value. Merge patch (RFC 7396) needs all three.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Patch<T> {
    /// The field is not there: leave as it is.
    Absent,
    /// The field is `null`: clear it.
    Null,
    /// The new value.
    Value(T),
}

impl<T> Patch<T> {
    /// The value, if there is one.
    pub fn value(self) -> Option<T> {
        match self {
            Patch::Value(value) => Some(value),
            _ => None,
        }
    }

    /// Whether the body names the field at all.
    pub fn is_present(&self) -> bool {
        !matches!(self, Patch::Absent)
    }

    /// What becomes of a field that may be cleared.
    pub fn apply(self, current: Option<T>) -> Option<T> {
        match self {
            Patch::Absent => current,
            Patch::Null => None,
            Patch::Value(value) => Some(value),
        }
    }
}

/// Reads a JSON object field by field and gathers every fault, unknown fields among them, so that a caller hears of all at
/// once. Take every field that the resource has, then call [`Fields::finish`].
///
/// ```
/// # use sker_error::Fields;
/// let body = serde_json::json!({"title": "", "importance": 9, "colour": "red"});
/// let mut fields = Fields::new(body).unwrap();
/// let title = fields.string("title", 1..=200);
/// let importance = fields.integer("importance", 1..=5);
/// let error = fields.finish().unwrap_err();
/// assert_eq!(error.fields().len(), 3);
/// # let _ = (title, importance);
/// ```
#[derive(Debug)]
pub struct Fields {
    rest: Map<String, Value>,
    prefix: String,
    faults: Vec<FieldError>,
}

impl Fields {
    /// Begins to read a body; anything but an object is refused.
    pub fn new(body: Value) -> Result<Self> {
        match body {
            Value::Object(rest) => Ok(Fields { rest, prefix: String::new(), faults: Vec::new() }),
            _ => Err(Error::invalid_request("the body must be a JSON object")),
        }
    }

    /// Reads an object that stands inside another; its faults carry the path. Give them back with [`Fields::absorb`].
    pub fn nested(&self, field: &str, object: Map<String, Value>) -> Fields {
        Fields { rest: object, prefix: format!("{}{field}.", self.prefix), faults: Vec::new() }
    }

    /// Takes over the faults of a nested object, its unknown fields among them.
    pub fn absorb(&mut self, nested: Fields) {
        self.faults.extend(nested.into_faults());
    }

    /// Names a fault.
    pub fn fault(&mut self, field: &str, code: &str, message: impl Into<String>) {
        self.faults.push(FieldError::new(format!("{}{field}", self.prefix), code, message));
    }

    /// Says that a field must be given, when it is not.
    pub fn require<T>(&mut self, field: &str, patch: Patch<T>) -> Option<T> {
        let named = format!("{}{field}", self.prefix);
        match patch {
            Patch::Value(value) => Some(value),
            // A field whose value was refused has its fault already.
            _ if self.faults.iter().any(|fault| fault.field == named) => None,
            _ => {
                self.fault(field, "required", "this field is required");
                None
            }
        }
    }

    /// Any JSON value.
    pub fn value(&mut self, field: &str) -> Patch<Value> {
        match self.rest.remove(field) {
            None => Patch::Absent,
            Some(Value::Null) => Patch::Null,
            Some(value) => Patch::Value(value),
        }
    }

    /// A string whose length in characters is within `length`.
    pub fn string(&mut self, field: &str, length: std::ops::RangeInclusive<usize>) -> Patch<String> {
        self.read(field, "a string", |value| match value {
            Value::String(text) => Ok(text),
            other => Err(other),
        })
        .check(self, field, |text| {
            let count = text.chars().count();
            if count < *length.start() {
                Err(("too_short", format!("must have at least {} characters", length.start())))
            } else if count > *length.end() {
                Err(("too_long", format!("must have at most {} characters", length.end())))
            } else if text.contains('\0') {
                Err(("invalid", "must not contain the NUL character".to_owned()))
            } else {
                Ok(())
            }
        })
    }

    /// One of a set of words.
    pub fn one_of(&mut self, field: &str, words: &[&str]) -> Patch<String> {
        self.read(field, "a string", |value| match value {
            Value::String(text) => Ok(text),
            other => Err(other),
        })
        .check(self, field, |text| match words.contains(&text.as_str()) {
            true => Ok(()),
            false => Err(("not_allowed", format!("must be one of {}", words.join(", ")))),
        })
    }

    /// A whole number within a range.
    pub fn integer(&mut self, field: &str, range: std::ops::RangeInclusive<i64>) -> Patch<i64> {
        self.read(field, "a whole number", |value| value.as_i64().ok_or(value)).check(self, field, |number| match range
            .contains(number)
        {
            true => Ok(()),
            false => Err(("out_of_range", format!("must be within {} and {}", range.start(), range.end()))),
        })
    }

    /// A number within a range.
    pub fn number(&mut self, field: &str, range: std::ops::RangeInclusive<f64>) -> Patch<f64> {
        self.read(field, "a number", |value| value.as_f64().ok_or(value)).check(self, field, |number| {
            match range.contains(number) {
                true => Ok(()),
                false => Err(("out_of_range", format!("must be within {} and {}", range.start(), range.end()))),
            }
        })
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, field: &str) -> Patch<bool> {
        self.read(field, "true or false", |value| value.as_bool().ok_or(value))
    }

    /// An object with whatever the client likes in it, nested at most [`MAX_DEPTH`] deep.
    pub fn object(&mut self, field: &str) -> Patch<Map<String, Value>> {
        self.read(field, "an object", |value| match value {
            Value::Object(map) => Ok(map),
            other => Err(other),
        })
        .check(self, field, |map| match map.values().all(|value| is_within(value, MAX_DEPTH - 1)) {
            true => Ok(()),
            false => Err(("too_deep", format!("must be nested at most {MAX_DEPTH} deep"))),
        })
    }

    /// A list of strings, each within `length`, at most `most` of them.
    pub fn strings(&mut self, field: &str, most: usize, length: std::ops::RangeInclusive<usize>) -> Patch<Vec<String>> {
        let list = self.read(field, "a list of strings", |value| match value {
            Value::Array(items) => Ok(items),
            other => Err(other),
        });
        let items = match list {
            Patch::Absent => return Patch::Absent,
            Patch::Null => return Patch::Null,
            Patch::Value(items) => items,
        };
        if items.len() > most {
            self.fault(field, "too_many", format!("must have at most {most} items"));
            return Patch::Absent;
        }
        let mut strings = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            match item {
                Value::String(text) if length.contains(&text.chars().count()) && !text.contains('\0') => {
                    strings.push(text);
                }
                Value::String(_) => self.fault(
                    &format!("{field}[{index}]"),
                    "invalid_length",
                    format!("must have {} to {} characters", length.start(), length.end()),
                ),
                _ => self.fault(&format!("{field}[{index}]"), "invalid_type", "must be a string"),
            }
        }
        Patch::Value(strings)
    }

    /// Fails with everything that was wrong. Fields that nobody took are unknown.
    pub fn finish(self) -> Result<()> {
        let faults = self.into_faults();
        if faults.is_empty() {
            return Ok(());
        }
        // Only when nothing else is wrong does the code say `unknown_field`; the list names them in any case.
        if faults.iter().all(|fault| fault.code == "unknown_field") {
            return Err(Error::unknown_fields(faults.into_iter().map(|fault| fault.field)));
        }
        Err(Error::validation(faults))
    }

    /// Fails with everything that was wrong, except that fields which nobody took are ignored: answers their names. For
    /// bodies of foreign clients.
    pub fn finish_open(mut self) -> Result<Vec<String>> {
        let ignored = self.rest.keys().map(|name| format!("{}{name}", self.prefix)).collect();
        self.rest.clear();
        self.finish().map(|()| ignored)
    }

    fn into_faults(self) -> Vec<FieldError> {
        let mut faults = self.faults;
        for name in self.rest.keys() {
            faults.push(FieldError::new(
                format!("{}{name}", self.prefix),
                "unknown_field",
                "this field does not exist",
            ));
        }
        faults
    }

    fn read<T>(&mut self, field: &str, expected: &str, convert: impl FnOnce(Value) -> Result<T, Value>) -> Patch<T> {
        match self.rest.remove(field) {
            None => Patch::Absent,
            Some(Value::Null) => Patch::Null,
            Some(value) => match convert(value) {
                Ok(value) => Patch::Value(value),
                Err(_) => {
                    self.fault(field, "invalid_type", format!("must be {expected}"));
                    Patch::Absent
                }
            },
        }
    }
}

/// Whether a value is nested at most so deep.
fn is_within(value: &Value, depth: usize) -> bool {
    match value {
        Value::Array(items) => depth > 0 && items.iter().all(|item| is_within(item, depth - 1)),
        Value::Object(map) => depth > 0 && map.values().all(|item| is_within(item, depth - 1)),
        _ => true,
    }
}

impl<T> Patch<T> {
    fn check(
        self,
        fields: &mut Fields,
        field: &str,
        rule: impl FnOnce(&T) -> Result<(), (&'static str, String)>,
    ) -> Patch<T> {
        if let Patch::Value(value) = &self
            && let Err((code, message)) = rule(value)
        {
            fields.fault(field, code, message);
            return Patch::Absent;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Code;

    #[test]
    fn every_fault_is_named_at_once() {
        let mut fields = Fields::new(json!({"title": 7, "importance": 9, "tags": ["a", 1], "colour": "red"})).unwrap();
        let title = fields.string("title", 1..=10);
        assert_eq!(fields.require("title", title), None);
        assert_eq!(fields.integer("importance", 1..=5), Patch::Absent);
        fields.strings("tags", 10, 1..=10);
        let name = fields.string("name", 1..=10);
        fields.require("name", name);
        let error = fields.finish().unwrap_err();
        let named: Vec<_> = error.fields().iter().map(|f| (f.field.as_str(), f.code.as_str())).collect();
        assert_eq!(
            named,
            [
                ("title", "invalid_type"),
                ("importance", "out_of_range"),
                ("tags[1]", "invalid_type"),
                ("name", "required"),
                ("colour", "unknown_field")
            ]
        );
        assert_eq!(error.code(), Code::ValidationFailed);
    }

    #[test]
    fn only_unknown_fields_say_so_in_the_code() {
        let error = Fields::new(json!({"a": 1})).unwrap().finish().unwrap_err();
        assert_eq!(error.code(), Code::UnknownField);
    }

    #[test]
    fn an_open_body_may_have_more_fields_and_hears_which() {
        let mut fields = Fields::new(json!({"title": "a", "colour": "red"})).unwrap();
        fields.string("title", 1..=10);
        assert_eq!(fields.finish_open().unwrap(), ["colour"]);
        let mut fields = Fields::new(json!({"title": 1, "colour": "red"})).unwrap();
        fields.string("title", 1..=10);
        assert_eq!(fields.finish_open().unwrap_err().fields().len(), 1);
    }

    #[test]
    fn a_nested_fault_carries_its_path() {
        let mut fields = Fields::new(json!({"position": {"x": "left", "z": 1}})).unwrap();
        let position = fields.object("position").value().unwrap();
        let mut inner = fields.nested("position", position);
        inner.number("x", -1.0..=1.0);
        fields.absorb(inner);
        let error = fields.finish().unwrap_err();
        let named: Vec<_> = error.fields().iter().map(|f| f.field.as_str()).collect();
        assert_eq!(named, ["position.x", "position.z"]);
    }

    #[test]
    fn an_object_is_nested_only_so_deep() {
        let nested = |depth: usize| (0..depth).fold(json!(1), |inner, _| json!({"a": inner}));
        let read = |depth: usize| {
            let mut fields = Fields::new(json!({"metadata": nested(depth)})).unwrap();
            fields.object("metadata");
            fields.finish()
        };
        read(MAX_DEPTH).unwrap();
        assert_eq!(read(MAX_DEPTH + 1).unwrap_err().fields()[0].code, "too_deep");
    }

    #[test]
    fn null_and_absent_differ() {
        let mut fields = Fields::new(json!({"a": null})).unwrap();
        assert_eq!(fields.boolean("a"), Patch::Null);
        assert_eq!(fields.boolean("b"), Patch::Absent);
        fields.finish().unwrap();
    }
}
