use std::collections::BTreeMap;

use serde_json::Value;
use sker_error::{Error, FieldError, Result};

use super::model::{Health, Instance, Status};

/// Which instances of a service are wanted. Everything named must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    status: Option<Status>,
    health: Option<Health>,
    tags: Vec<String>,
    metadata: BTreeMap<String, String>,
}

impl Filter {
    /// A filter of words as they stand on the wire; empty ones mean any.
    ///
    /// # Errors
    /// `validation_failed` names every word that is none.
    pub fn new(status: &str, health: &str, tags: Vec<String>, metadata: BTreeMap<String, String>) -> Result<Self> {
        let mut faults = Vec::new();
        let status = word("status", status, Status::parse, Status::WORDS, &mut faults);
        let health = word("health", health, Health::parse, Health::WORDS, &mut faults);
        if !faults.is_empty() {
            return Err(Error::validation(faults));
        }
        Ok(Filter { status, health, tags, metadata })
    }

    /// Whether an instance is wanted.
    pub fn matches(&self, instance: &Instance) -> bool {
        self.status.is_none_or(|status| instance.status() == status)
            && self.health.is_none_or(|health| instance.health() == health)
            && self.tags.iter().all(|tag| instance.spec.tags.contains(tag))
            && self.metadata.iter().all(|(key, wanted)| match instance.spec.metadata.get(key) {
                None => false,
                Some(Value::String(text)) => text == wanted,
                // A number or a truth value is wanted as it is written.
                Some(other) => serde_json::from_str::<Value>(wanted).is_ok_and(|wanted| wanted == *other),
            })
    }
}

fn word<T>(
    field: &str,
    text: &str,
    parse: impl FnOnce(&str) -> Option<T>,
    words: &[&str],
    faults: &mut Vec<FieldError>,
) -> Option<T> {
    if text.is_empty() {
        return None;
    }
    let parsed = parse(text);
    if parsed.is_none() {
        faults.push(FieldError::new(field, "not_allowed", format!("must be one of {}", words.join(", "))));
    }
    parsed
}
