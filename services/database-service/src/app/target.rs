use std::fmt;

use secrecy::{ExposeSecret, SecretString};

use super::Kind;

/// The longest name of a target.
const LONGEST_NAME: usize = 64;

/// One database that is watched.
#[derive(Clone)]
pub struct Target {
    /// Its name, unique in the configuration.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    url: SecretString,
    management_url: Option<SecretString>,
}

impl Target {
    /// A target. The URL may hold credentials.
    pub fn new(name: impl Into<String>, kind: Kind, url: impl Into<SecretString>) -> Self {
        Target { name: name.into(), kind, url: url.into(), management_url: None }
    }

    /// With the management API of the same server; that URL may hold credentials, too.
    pub fn with_management(self, url: impl Into<SecretString>) -> Self {
        Target { management_url: Some(url.into()), ..self }
    }

    /// Where it is, with credentials: for drivers only.
    pub fn url(&self) -> &str {
        self.url.expose_secret()
    }

    /// Where its management API is, with credentials: for drivers only.
    pub fn management_url(&self) -> Option<&str> {
        self.management_url.as_ref().map(ExposeSecret::expose_secret)
    }

    /// Where it is, without credentials.
    pub fn shown_url(&self) -> String {
        sker_config::redact_text(self.url())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Target").field("name", &self.name).field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Whether a target may have that name: it stands in paths, metrics and environment names.
pub fn is_target_name(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_')
}
