use std::{collections::BTreeMap, error::Error, fmt};

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The key, with dots; empty when it is about the whole.
    pub key: String,
    /// What is wrong. Never has a secret in it.
    pub message: String,
    /// Where the value came from, for example `environment variable PG_PORT`.
    pub source: String,
}

/// Everything that is wrong with a configuration.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Faults {
    service: String,
    sources: BTreeMap<String, String>,
    faults: Vec<Fault>,
}

impl Faults {
    pub(crate) fn new(service: &str) -> Self {
        Faults { service: service.to_owned(), ..Faults::default() }
    }

    pub(crate) fn set_sources(&mut self, sources: BTreeMap<String, String>) {
        self.sources = sources;
    }

    pub(crate) fn add_from(&mut self, key: &str, message: impl Into<String>, source: impl Into<String>) {
        let fault = Fault { key: key.to_owned(), message: message.into(), source: source.into() };
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    /// Names a fault of a key. Where its value came from is found out here.
    pub fn add(&mut self, key: &str, message: impl Into<String>) {
        let source = self.source_of(key).to_owned();
        self.add_from(key, message, source);
    }

    /// Names a fault unless the condition holds.
    pub fn check(&mut self, holds: bool, key: &str, message: impl Into<String>) {
        if !holds {
            self.add(key, message);
        }
    }

    /// Where the value of a key came from: its own source, or that of what it stands in.
    pub fn source_of(&self, key: &str) -> &str {
        let mut key = key;
        loop {
            if let Some(source) = self.sources.get(key) {
                return source;
            }
            match key.rfind(['.', '[']) {
                Some(end) => key = &key[..end],
                None => return "not set",
            }
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.faults.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    /// Them all, in the order in which they were found.
    pub fn iter(&self) -> std::slice::Iter<'_, Fault> {
        self.faults.iter()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.faults.len();
        let noun = if count == 1 { "fault" } else { "faults" };
        write!(formatter, "{count} {noun} in the configuration of {}", self.service)?;
        for Fault { key, message, source } in &self.faults {
            match key.is_empty() {
                true => write!(formatter, "\n  {message} ({source})")?,
                false => write!(formatter, "\n  {key}: {message} ({source})")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Faults").field("service", &self.service).field("faults", &self.faults).finish()
    }
}

impl Error for Faults {}
