use std::{collections::BTreeMap, fmt, path::PathBuf};

use crate::CommonArgs;

/// Everything that a configuration is made of. The environment is given, never read behind the caller's back, so that
/// several services can be configured in one process.
#[derive(Clone, Default)]
pub struct Layers {
    /// The service, as in `database-service`; decides the prefix of its nested environment names.
    pub service: &'static str,
    /// The built-in defaults, TOML.
    pub defaults: &'static str,
    /// Flat environment names and the keys they set. Of two names for one key the first wins. An empty value counts
    /// as not set, since compose files pass empty values for what is missing.
    pub flat: &'static [(&'static str, &'static str)],
    /// A TOML or YAML file, by its extension (`.toml`, `.yaml`, `.yml`, and these followed by `.example`).
    pub file: Option<PathBuf>,
    /// Whether the file is the whole platform's, with a section per service: then the one named as this service is read.
    pub sectioned: bool,
    /// The environment.
    pub env: BTreeMap<String, String>,
    /// Keys set by flags; they beat everything.
    pub overrides: Vec<(String, String)>,
}

impl Layers {
    /// Defaults only.
    pub fn new(service: &'static str, defaults: &'static str, flat: &'static [(&'static str, &'static str)]) -> Self {
        Layers { service, defaults, flat, ..Layers::default() }
    }

    /// The layers of a program: its environment and its flags.
    pub fn from_process(
        service: &'static str,
        defaults: &'static str,
        flat: &'static [(&'static str, &'static str)],
        args: &CommonArgs,
    ) -> Self {
        // A variable that is not UTF-8 cannot be one of ours.
        let env = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let (file, overrides) = (args.config.clone(), args.set.clone());
        Layers { file, env, overrides, ..Layers::new(service, defaults, flat) }
    }

    /// The prefix of the service's nested environment names: `SKER_DATABASE_SERVICE__`.
    pub(crate) fn prefix(&self) -> String {
        format!("SKER_{}__", self.service.to_ascii_uppercase().replace('-', "_"))
    }
}

impl fmt::Debug for Layers {
    /// Names only: the values of the environment and of flags may be secrets.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let overrides: Vec<&str> = self.overrides.iter().map(|(key, _)| key.as_str()).collect();
        formatter
            .debug_struct("Layers")
            .field("service", &self.service)
            .field("file", &self.file)
            .field("env", &self.env.keys())
            .field("overrides", &overrides)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_of_the_environment_or_of_a_flag_shows_in_debug_output() {
        let mut layers = Layers::new("store", "", &[]);
        layers.env.insert("JWT_SECRET".to_owned(), "hunter2".to_owned());
        layers.overrides.push(("database.password".to_owned(), "hunter2".to_owned()));
        let shown = format!("{layers:?}");
        assert!(shown.contains("JWT_SECRET") && !shown.contains("hunter2"), "{shown}");
    }
}
