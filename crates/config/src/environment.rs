use serde::{Deserialize, Deserializer, de};

/// What the program runs for; key `environment`, from `SKER_ENV` or `NODE_ENV`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Environment {
    /// A developer's machine: what is unsafe only warns.
    #[default]
    Development,
    /// Serves others: what is unsafe stops the start.
    Production,
}

impl Environment {
    /// Whether this is production.
    pub fn is_production(self) -> bool {
        self == Environment::Production
    }

    /// The name used in configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Environment::Development => "development",
            Environment::Production => "production",
        }
    }
}

impl<'de> Deserialize<'de> for Environment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        match name.to_ascii_lowercase().as_str() {
            // `test` is what NODE_ENV says under a test runner.
            "development" | "dev" | "test" => Ok(Environment::Development),
            "production" | "prod" => Ok(Environment::Production),
            _ => Err(de::Error::unknown_variant(&name, &["development", "production"])),
        }
    }
}
